"""Writes pipeline folders of several families, with random weights, in a second each. The classes are the real ones."""

import string

import diffusers
import torch
import transformers
from diffusers.pipelines.stable_audio import StableAudioProjectionModel

WIDTH = 32  # of texts


def flux(path):
    """Pictures."""
    torch.manual_seed(0)
    clip = transformers.CLIPTextConfig(
        vocab_size=60, hidden_size=WIDTH, intermediate_size=37, num_hidden_layers=1, num_attention_heads=4,
        projection_dim=WIDTH, max_position_embeddings=77, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4, 4), latent_channels=1, norm_num_groups=1, use_quant_conv=False,
            use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5, sample_size=32,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=transformers.CLIPTextModel(clip), tokenizer=words_of_clip(),
        text_encoder_2=t5(transformers.T5EncoderModel, transformers.T5Config), tokenizer_2=words_of_t5(),
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=WIDTH, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8),
        ),
    ).save_pretrained(path)  # fmt: skip


def wan(path):
    """Films."""
    torch.manual_seed(0)
    diffusers.WanPipeline(
        tokenizer=words_of_t5(), text_encoder=t5(transformers.UMT5EncoderModel, transformers.UMT5Config),
        vae=diffusers.AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        transformer=diffusers.WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16, text_dim=WIDTH, freq_dim=32,
            ffn_dim=32, num_layers=1, rope_max_seq_len=32,
        ),
    ).save_pretrained(path)  # fmt: skip


def stable_audio(path):
    """Sounds."""
    torch.manual_seed(0)
    diffusers.StableAudioPipeline(
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=6, downsampling_ratios=[1, 2], decoder_channels=3, decoder_input_channels=3,
            channel_multiples=[2, 4], sampling_rate=400,
        ),
        text_encoder=t5(transformers.T5EncoderModel, transformers.T5Config), tokenizer=words_of_t5(),
        projection_model=StableAudioProjectionModel(WIDTH, 4, 0, 32),
        transformer=diffusers.StableAudioDiTModel(
            sample_size=4, in_channels=3, num_layers=2, attention_head_dim=4, num_attention_heads=2,
            num_key_value_attention_heads=2, out_channels=3, cross_attention_dim=4, time_proj_dim=8,
            global_states_input_dim=8, cross_attention_input_dim=4,
        ),
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(solver_order=2, prediction_type="v_prediction"),
    ).save_pretrained(path)  # fmt: skip


def t5(model, config):
    return model(config(vocab_size=60, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=4))


def words_of_clip():
    letters = [
        "<|startoftext|>",
        "<|endoftext|>",
        *string.ascii_lowercase,
        *(f"{each}</w>" for each in string.ascii_lowercase),
    ]
    return transformers.CLIPTokenizer({each: k for k, each in enumerate(letters)}, [], model_max_length=77)


def words_of_t5():
    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase]
    return transformers.T5TokenizerFast(
        [(each, 0.0 if k < 3 else -float(k)) for k, each in enumerate(pieces)], extra_ids=0, model_max_length=64
    )

"""Loading pipelines: what is damaged is named, a cancel is heard, and the memory decides how many are kept."""

import shutil

import pytest
import safetensors.torch
import torch

from core.plugin import Cancelled, InvalidParams

SMALL = {"width": 16, "height": 16, "steps": 1, "seed": 7}


def weights(path, component="transformer"):
    return path / component / "diffusion_pytorch_model.safetensors"


def test_a_file_that_is_cut_off_is_named(put, run):
    file = weights(put("flux"))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(
        InvalidParams, match=r"pipeline/flux/transformer .*diffusion_pytorch_model.safetensors is cut off"
    ):
        run("flux", **SMALL)


@pytest.mark.parametrize(
    "content", [b"", b"12345678", b"\xff" * 100, b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b"null"]
)
def test_what_is_no_file_of_weights_is_named(content, put, run):
    weights(put("flux")).write_bytes(content)
    with pytest.raises(InvalidParams, match="diffusion_pytorch_model.safetensors is no file of safetensors"):
        run("flux", **SMALL)


def test_weights_that_may_run_code_are_not_read(put, run, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "was_run"), "w")

    file = weights(put("flux"))
    torch.save(Evil(), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(InvalidParams, match=r"only weights that may run code \(diffusion_pytorch_model.bin\)"):
        run("flux", **SMALL)
    assert not (tmp_path / "was_run").exists()


def test_weights_that_lack_a_tensor_are_not_filled_at_random(put, run):
    file = weights(put("flux"))
    tensors = safetensors.torch.load_file(file)
    tensors.pop("x_embedder.weight")
    safetensors.torch.save_file(tensors, file, {"format": "pt"})
    with pytest.raises(InvalidParams, match="flux/transformer cannot be used: .*x_embedder.weight"):
        run("flux", **SMALL)


def test_a_component_without_weights_is_named(put, run):
    weights(put("flux"), "vae").unlink()
    with pytest.raises(InvalidParams, match="models/pipeline/flux/vae cannot be used: it cannot be loaded"):
        run("flux", **SMALL)


def test_what_is_no_class_of_a_library_is_refused(put, run):
    put("flux", vae=["diffusers", "logging"])
    with pytest.raises(InvalidParams, match="pipeline/flux/vae cannot be used: diffusers has no class logging"):
        run("flux", **SMALL)


def test_a_folder_that_goes_before_its_job_runs_is_told_without_a_word_of_a_hub(put, plugin, make_context):
    from df import jobs

    path = put("flux")
    function = jobs.job_of("flux", path, None)
    shutil.rmtree(path)
    params = function.__annotations__["params"](**SMALL)
    with pytest.raises(InvalidParams, match=r"^models/pipeline/flux/\w+ cannot be used: files of it are missing\."):
        list(function(plugin, params=params, ctx=make_context()))


def test_weights_of_half_precision_alone_do(put, run):
    file = weights(put("flux"))
    tensors = {name: tensor.half() for name, tensor in safetensors.torch.load_file(file).items()}
    safetensors.torch.save_file(tensors, file.with_name("diffusion_pytorch_model.fp16.safetensors"), {"format": "pt"})
    file.unlink()
    assert run("flux", **SMALL)[0].value.size == (16, 16)


def test_a_cancel_is_heard_between_two_components(put, run, make_context):
    put("flux")
    ctx = make_context(lambda event, body: body.get("phase") == "loading tokenizer" and ctx._cancelled.set())
    with pytest.raises(Cancelled):
        run("flux", ctx, **SMALL)
    assert ctx.told[-1][1]["phase"] == "loading tokenizer"


def test_a_pipeline_is_kept_until_its_folder_changes(put, run, plugin, make_context):
    path = put("flux")
    run("flux", first := make_context(), **SMALL)
    run("flux", second := make_context(), **SMALL)
    assert [body["phase"] for _, body in first.told if "loading" in body.get("phase", "")]
    assert [body["phase"] for _, body in second.told] == ["steps"]
    config = path / "scheduler/scheduler_config.json"
    config.write_text(config.read_text() + "\n")
    run("flux", third := make_context(), **SMALL)
    assert "loading vae" in [body["phase"] for _, body in third.told]


def test_the_one_used_longest_ago_makes_room(put, run, plugin, monkeypatch):
    for name in ("a", "b", "c"):
        put("flux", name)
    plugin.pipelines.clear()
    for name in ("a", "b", "a"):
        run(name, **SMALL)
    monkeypatch.setattr(plugin.pipelines, "_free", lambda: 0 if len(plugin.pipelines._kept) > 1 else 2**40)
    run("c", **SMALL)
    assert [*plugin.pipelines._kept] == ["a", "c"]


def test_little_memory_lets_the_autoencoder_work_in_tiles(put, run, plugin, make_context):
    put("flux")
    run("flux", **SMALL)
    assert not plugin.pipelines._kept["flux"].pipeline.vae.use_tiling
    ctx = make_context()
    ctx.low_memory = True
    assert run("flux", ctx, **SMALL)[0].value.size == (16, 16)
    assert plugin.pipelines._kept["flux"].pipeline.vae.use_tiling


def test_out_of_memory_moves_a_pipeline_one_step_further_at_a_time(put, run, plugin, make_context):
    put("flux")
    (ctx := make_context()).low_memory = True
    placings = [run("flux", each, **SMALL) and plugin.pipelines._kept["flux"].placing for each in (None, ctx, ctx, ctx)]
    assert placings == ["whole", "models", "layers", "layers"]
    assert run("flux", **SMALL) and plugin.pipelines._kept["flux"].placing == "layers"  # until it is loaded anew


def test_the_size_of_weights_is_known_before_they_are_loaded(put, run, plugin):
    from df.folders import read
    from df.pipelines import weights_bytes

    folder = read("flux", put("flux"))
    run("flux", **SMALL)
    for name in ("transformer", "vae", "text_encoder"):
        component = getattr(plugin.pipelines._kept["flux"].pipeline, name)
        taken = sum(each.numel() * each.element_size() for each in component.state_dict().values())
        assert weights_bytes(folder, name, torch.float32) == pytest.approx(taken, rel=0.05)
        assert weights_bytes(folder, name, torch.float16) == pytest.approx(taken / 2, rel=0.05)
    assert weights_bytes(folder, "scheduler", torch.float32) == 0

"""A1111's names of axes, and the parameters that they stand for."""

SEARCH, ORDER, NOTHING = "prompt s/r", "prompt order", ""
AXES = {  # in A1111's order, without those that ask for what no job here has
    "Nothing": NOTHING,
    "Seed": "seed",
    "Var. seed": "variation_seed",
    "Var. strength": "variation_strength",
    "Steps": "steps",
    "Hires steps": "hires_steps",
    "CFG Scale": "cfg_scale",
    "Image CFG Scale": "image_cfg_scale",
    "Prompt S/R": SEARCH,
    "Prompt order": ORDER,
    "Sampler": "sampler",
    "Hires sampler": "hires_sampler",
    "Checkpoint name": "model",
    "Negative Guidance minimum sigma": "ngms",
    "Sigma Churn": "s_churn",
    "Sigma min": "s_tmin",
    "Sigma max": "s_tmax",
    "Sigma noise": "s_noise",
    "Schedule type": "schedule",
    "Schedule min sigma": "sigma_min",
    "Schedule max sigma": "sigma_max",
    "Schedule rho": "rho",
    "Eta": "eta",
    "Clip skip": "clip_skip",
    "Denoising": "denoising_strength",
    "Initial noise multiplier": "noise_multiplier",
    "Hires upscaler": "hires_upscaler",
    "VAE": "vae",
    "Styles": "styles",
    "Refiner checkpoint": "refiner",
    "Refiner switch at": "refiner_switch_at",
    "RNG source": "noise_source",
}
LESS = {name.casefold(): parameter for name, parameter in AXES.items()}
BARE = (SEARCH, ORDER, "sampler", "model", "schedule", "prompt")  # whose values tell by themselves what they are


def parameter_of(name: str) -> str:
    """What an axis stands for, by A1111's name of it or by the parameter's own."""
    return LESS.get(name.strip().casefold(), name.strip())


def name_of(parameter: str) -> str:
    """As it is written beside a grid."""
    return next((name for name, each in AXES.items() if each == parameter and each), parameter)

"""Between the bytes that flow between jobs and what pipelines take and give: films as MP4, sounds as WAV."""

import fractions
import io
from typing import Any

import numpy
import PIL.Image

from core.plugin import InvalidParams

QUALITY = "18"  # H.264's constant rate factor: hardly to be told from the original


def read_film(data: bytes, name: str) -> list[PIL.Image.Image]:
    """The pictures of an MP4 file. Raises InvalidParams."""
    import av

    try:
        with av.open(io.BytesIO(data)) as film:
            frames = [frame.to_image() for frame in film.decode(video=0)]
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InvalidParams(f"{name} cannot be read as a film: {error}.", field=name) from error
    if not frames:
        raise InvalidParams(f"{name} has no pictures in it.", field=name)
    return frames


def write_film(frames: Any, fps: float, sound: numpy.ndarray | None = None, rate: int = 0) -> bytes:
    """An MP4 file, H.264, of pictures or arrays (H, W, 3), uint8 or float from 0 to 1. An odd side loses a pixel.

    `sound` goes along as AAC: float (samples,) or (channels, samples), -1 to 1, `rate` samples a second."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=fractions.Fraction(fps).limit_denominator(1001))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": QUALITY}
        stream.height, stream.width = _pixels(frames[0]).shape[:2]
        if sound is not None:
            samples = numpy.ascontiguousarray(numpy.atleast_2d(sound)[:2], dtype=numpy.float32)
            heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout=("mono", "stereo")[len(samples) - 1])
            heard.sample_rate = rate
            track = film.add_stream("aac", rate=rate, layout=heard.layout.name)
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(_pixels(frame), format="rgb24")))
        film.mux(stream.encode())
        if sound is not None:
            film.mux(track.encode(heard))
            film.mux(track.encode())
    return out.getvalue()


def _pixels(frame: Any) -> numpy.ndarray:
    pixels = numpy.asarray(frame.convert("RGB") if isinstance(frame, PIL.Image.Image) else frame)
    if pixels.dtype != numpy.uint8:
        pixels = (pixels.clip(0, 1) * 255).round().astype(numpy.uint8)
    return numpy.ascontiguousarray(pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2, :3])


def read_sound(data: bytes, rate: int, name: str) -> numpy.ndarray:
    """The samples of a WAV file at `rate` samples a second: float32 (channels, samples), -1 to 1.

    Raises InvalidParams."""
    import av

    try:
        with av.open(io.BytesIO(data)) as sound:
            resampler = av.AudioResampler(format="fltp", rate=rate)
            frames = [part for frame in sound.decode(audio=0) for part in resampler.resample(frame)]
            frames += resampler.resample(None)
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InvalidParams(f"{name} cannot be read as a sound: {error}.", field=name) from error
    if not frames:
        raise InvalidParams(f"{name} has no sound in it.", field=name)
    return numpy.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(numpy.float32)


def write_sound(samples: numpy.ndarray, rate: int) -> bytes:
    """A WAV file, 16 bits a sample, of float (samples,) or (channels, samples) from -1 to 1."""
    import scipy.io.wavfile

    out = io.BytesIO()
    scaled = (samples.astype(numpy.float32).clip(-1, 1) * 32767).round().astype(numpy.int16)
    scipy.io.wavfile.write(out, rate, scaled.T)
    return out.getvalue()

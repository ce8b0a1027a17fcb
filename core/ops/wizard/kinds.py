"""Which kinds of plugins the wizard writes; the code of each is a folder of templates/kinds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """`does` is for the menu, `description` what a plugin says of itself unless its author has better words.

    `run` are the words that try it on the command line, `packages` what its code needs, `jobs` what follows the
    job's own name in the names of all its jobs."""

    name: str
    does: str
    description: str
    takes: str
    gives: str
    run: str
    packages: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ("",)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "text-to-image",
            "draws a picture from words",
            "Draws flowing waves in the colours that a prompt names.",
            "a prompt",
            "a picture",
            '--prompt "a red and gold sunset over a blue sea" --out {job}.png',
            packages=("numpy",),
        ),
        Kind(
            "image-to-image",
            "changes a picture",
            "Turns pictures into prints of a few flat colours with dark outlines.",
            "a picture",
            "the picture as a print",
            "--image PICTURE.png --colours 5 --out {job}.png",
        ),
        Kind(
            "several-inputs",
            "makes one of several pictures",
            "Lays one picture over another, all of it or where a mask is white.",
            "two pictures, and a mask if you like",
            "one picture",
            "--image BELOW.png --overlay ABOVE.png --opacity 0.5 --out {job}.png",
        ),
        Kind(
            "text",
            "changes or writes texts",
            "Makes variations of a prompt, each in a style of its own.",
            "a text",
            "several texts",
            '--text "a cat on a roof" --count 3',
        ),
        Kind(
            "audio",
            "makes a sound",
            "Plays a melody from the names of its notes.",
            "names of notes",
            "a WAV file",
            '--notes "C4 E4 G4 C5" --tempo 150 --out {job}.wav',
        ),
        Kind(
            "light",
            "answers at once, while people type",
            "Counts the words of a prompt and tells which ones it repeats.",
            "a prompt",
            "counts and warnings, as JSON",
            '--prompt "a red red rose"',
        ),
        Kind(
            "program",
            "makes jobs of other jobs",
            "Draws a picture in several hues, and one sheet of all of them.",
            "a picture",
            "a sheet of pictures",
            "--image PICTURE.png --count 6 --out {job}.png",
            jobs=("", "_hue", "_sheet"),
        ),
    )
}

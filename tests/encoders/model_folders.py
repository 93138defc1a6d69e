"""What tests of encoders share."""

from pathlib import Path

TEXTS = [
    'a cat sits',
    'a cat lies',
    '',
    'the river Danube flows east and ends in the Black Sea',
    'x',
    'capital of France. ' * 12,
]


def save_processor(folder: Path) -> None:
    """Beside a model, what images of side 32 need."""
    import transformers

    size = {'height': 32, 'width': 32}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)


def link_copy(folder: Path, to: Path, **changed: str) -> Path:
    """A copy of a model's folder by links, with some files rewritten.

    Keys are file names in which a dot is written as two underscores.
    """
    to.mkdir(parents=True)
    for file in folder.iterdir():
        (to / file.name).symlink_to(file)
    for key, text in changed.items():
        file = to / key.replace('__', '.')
        file.unlink(missing_ok=True)
        file.write_text(text)
    return to

"""Every file that one stage writes and another reads, in the order in which they come to be."""

from pathlib import Path

from pipeline.errors import MissingError

# ingest
CLIPS = Path("data/clips")
MANIFEST = Path("data/manifest.csv")
# validate
VALIDATION = Path("reports/validation.json")
VALIDATION_PAGE = Path("reports/validation.html")
FOLDS = Path("data/folds.csv")
# features
FEATURES = Path("data/features")
# train
FLOAT = Path("models/float")
PAPER_PROTOCOL = Path("models/paper_protocol.csv")
LEARNING_CURVES = Path("reports/learning_curves.csv")
MEAN_CURVES = Path("reports/mean_curves.csv")
# fold
FOLDED = Path("models/folded")
FOLD_ERROR = Path("reports/fold_error.json")
# quantize
QAT = Path("models/qat")
QUANTIZE_CURVES = Path("reports/quantize_curves.csv")
# convert
TFLITE = Path("models/tflite")
CONVERSION = Path("reports/conversion.json")
MODEL = TFLITE / "final" / "model.tflite"  # the one to deploy
# evaluate
DEVICE = Path("models/device")  # the model as it is flashed, tiled where needed, and in parts
METRICS = Path("metrics.json")
PREDICTIONS = Path("predictions.csv")
EVALUATION = Path("reports/evaluation.json")
SPEAKERS = Path("reports/speakers.csv")
SIZES = Path("reports/sizes.csv")
ARENA = Path("reports/arena.csv")
# export
BUNDLE = Path("models/bundle")


def require(path: Path) -> Path:
    """`path`, which an earlier stage wrote; MissingError where it did not."""
    if not path.exists():
        raise MissingError(f"no {path}; an earlier stage writes it: run `dvc repro`")
    return path


def named(path: Path, expected: str) -> Path:
    """`path`, a file that the user names; MissingError where it is none."""
    if path.is_dir():
        raise MissingError(f"{path} is a folder, expected {expected}: name the file")
    if not path.is_file():
        raise MissingError(
            f"no {path}, expected {expected}: correct the path, or run `dvc repro` where a stage writes it"
        )
    return path


def model(folder: Path, fold: str) -> Path:
    """Where the Keras model of a fold lies."""
    return folder / f"{fold}.h5"

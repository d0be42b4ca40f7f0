"""What a result scores: its models by name, and the protocol of their figures."""

SHIPS = "int8"
PAPERS = "paper_protocol"
MODELS = {
    "float": "float",
    "ptq": "int8, post-training",
    "qat": "int8, fine-tuned",
    SHIPS: "int8, ships",
    PAPERS: "float, paper's protocol",
}
HONEST = "honest"
BEST_TEST_EPOCH = "best test epoch"


def protocol(key: str) -> str:
    """How the figures of `key` came about: the test fold seen once, at the end, or in every epoch."""
    return BEST_TEST_EPOCH if key == PAPERS else HONEST

"""The training loop: trainer, validation, memory plan, and the choice between sparse and dense steps."""

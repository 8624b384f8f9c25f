"""One training step of a stack of SAEs: encoding, loss, gradients, noise, measures."""

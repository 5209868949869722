"""The states that a GAN's training can be in; a logged ``diag/state`` is the index of its name here."""

STATES = ("healthy", "D wins", "D fooled", "colour collapse", "over-saturation", "diverging")

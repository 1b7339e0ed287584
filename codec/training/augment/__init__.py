"""Augment training crops: level, speed, mixing, tilt, rooms and noise, one idea a file.

Each is a function of a batch and of numbers drawn for it, of fixed shapes and without a look at the
data from the host, so that it runs on the device and inside a captured graph. `chain.Chain` draws
the numbers and applies what `settings.Augmentations` asks for.
"""

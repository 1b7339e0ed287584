"""A neural audio codec and tokenizer: waveforms to discrete tokens at a fixed rate, and back."""

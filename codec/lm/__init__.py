"""Tokens for language models: layouts, vocabularies and the Hugging Face bridge."""

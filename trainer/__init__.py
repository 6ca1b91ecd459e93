"""Trains stegomq models and writes the model directories that the Go side runs."""

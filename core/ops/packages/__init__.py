"""Plugins as packages: fetched, looked at, installed beside what is there, switched at once, and taken back."""

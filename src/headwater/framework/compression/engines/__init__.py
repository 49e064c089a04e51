"""Compression engines, one file each; an entry point `headwater.compression` adds one."""

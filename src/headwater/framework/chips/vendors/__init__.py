"""One file for each vendor: its `ADAPTER`. A third party adds one by an entry point `headwater.chips`."""

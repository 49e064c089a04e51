"""The recognisers of personal data: one file each, declared as plug-ins in the entry-point group `headwater.recognisers`."""

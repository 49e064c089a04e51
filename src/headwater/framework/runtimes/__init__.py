"""Forms in which a program is handed on, one file each, and the one way to load them again; `headwater.runtimes` adds one."""

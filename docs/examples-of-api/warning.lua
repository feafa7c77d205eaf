-- A line of the host's log, marked with the script's name.
warning("the lamp is hot") --! the lamp is hot

// Forms: what follows while one writes.

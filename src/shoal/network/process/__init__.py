"""The node's network process: gossips, answers names, and makes overlays in the kernel. Outlives `shoald`."""

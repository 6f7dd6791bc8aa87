"""A whole host in qemu, which `script/test-vm` boots, and steps that it plays. They build on one another: no pytest."""

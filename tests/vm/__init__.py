"""A whole host in qemu, which `script/test-vm` boots, and the steps that it plays. Each step builds on the ones before,
so these are no pytest tests.
"""

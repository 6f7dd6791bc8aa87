"""Port 2377: accepts, shakes hands, keeps to its limits, knows who calls and what they may. Answers nothing itself."""

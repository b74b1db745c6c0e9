"""The one loop, what feeds it, and what it leaves behind."""

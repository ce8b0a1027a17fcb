"""What people keep: sessions, models, exported files."""

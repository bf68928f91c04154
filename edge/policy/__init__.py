"""What a site asks beyond a genuine card and the right face: hours, groups, presence, a second person, a benefit."""

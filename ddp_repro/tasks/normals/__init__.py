"""Surface normals: a unit vector for every pixel."""

"""nuScenes: its index, geometry, maps and point clouds."""

"""What is measured of ``predict``: its throughput, and how labels flicker from frame to frame."""

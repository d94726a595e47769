"""Networks: timm backbones, neck, deformable attention, map decoder."""

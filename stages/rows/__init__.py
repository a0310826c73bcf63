"""What all stages of a row share: device, clips, network, tensor files."""

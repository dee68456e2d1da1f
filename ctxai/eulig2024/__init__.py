"""The 2024 paper's autoencoder at its full size: ResNet50, a decoder after BigGAN, and a critic."""

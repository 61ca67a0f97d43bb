"""The small convolutional encoder and decoder of VQ-VAE (van den Oord et al. 2017, section 4.1; arXiv 1711.00937)."""

from torch import Tensor, nn

from discrete_lightning.training.image_module import check_channels


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ConvolutionalEncoder(nn.Sequential):
    """Images (B, channels, H, W) to vectors (B, H / 2^n, W / 2^n, dim), channels last, by n halvings.

    Example:
        >>> ConvolutionalEncoder(channels=1, hidden=8, dim=4)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 7, 7, 4])
    """

    def __init__(self, channels: int, hidden: int, dim: int, halvings: int = 2, blocks: int = 1) -> None:
        widths = [channels, *[hidden // 2] * (halvings - 1), hidden]
        layers: list[nn.Module] = []
        for i in range(halvings):
            layers += [nn.Conv2d(widths[i], widths[i + 1], 4, stride=2, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(hidden, hidden, 3, padding=1), *(ResidualBlock(hidden) for _ in range(blocks))]
        super().__init__(*layers, nn.ReLU(), nn.Conv2d(hidden, dim, 1))
        self.channels, self.halvings = channels, halvings

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).movedim(1, -1)

    def check_shape(self, images: Tensor) -> None:
        """Raises ValueError unless the images are (B, channels, H, W), and H and W can be halved as often as is done."""
        check_channels(images, self.channels)
        height, width = images.shape[2:]
        factor = 2**self.halvings
        if height % factor or width % factor or not height * width:
            smaller = [max(factor, size // factor * factor) for size in (height, width)]
            larger = [max(1, -(-size // factor)) * factor for size in (height, width)]
            sizes = [f"{height} x {width}" for height, width in (smaller, larger)]
            raise ValueError(
                f"the encoder halves height and width {self.halvings} times, so both must be multiples of {factor}, and the "
                f"data serves images of {height} x {width}: resize them to {' or '.join(dict.fromkeys(sizes))}, or pad them"
            )


class ConvolutionalDecoder(nn.Sequential):
    """Vectors (B, h, w, dim) back to images (B, channels, h * 2^n, w * 2^n), mirroring the encoder.

    Example:
        >>> ConvolutionalDecoder(channels=1, hidden=8, dim=4)(torch.zeros(2, 7, 7, 4)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, channels: int, hidden: int, dim: int, halvings: int = 2, blocks: int = 1) -> None:
        widths = [hidden, *[hidden // 2] * (halvings - 1), channels]
        layers: list[nn.Module] = [nn.Conv2d(dim, hidden, 3, padding=1)]
        layers += [ResidualBlock(hidden) for _ in range(blocks)]
        for i in range(halvings):
            layers += [nn.ReLU(), nn.ConvTranspose2d(widths[i], widths[i + 1], 4, stride=2, padding=1)]
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(-1, 1))

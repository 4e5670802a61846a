"""Golden numbers of learning/methods/icm-lora/icm-lora.test.ts: the decoder as PyTorch computes it. Needs PyTorch."""

import torch

torch.set_default_dtype(torch.float64)


def filled(*shape, at=0):
    count = torch.tensor(shape).prod().item()
    return torch.sin(torch.arange(count) * 0.7 + at).reshape(shape)


kernel, channels, latent, condition, size = 3, [2, 3], 2, 2, 11
inner = -(-size // 4)
z, c = filled(latent, at=1), filled(condition, at=2)
y = torch.cat([z, c]) @ filled(latent + condition, inner * 3, at=3) + filled(inner * 3, at=4)
y = y.reshape(inner, 3).T[None]
for i in [1, 0]:
    to, source = ([1] + channels)[i], channels[i]
    weight = filled(kernel, to, source, at=5 + i)  # [kernel, to, from]
    bias = filled(to, at=8 + i)
    # "same" with stride 2 pads one place on the right for three taps: the last output of the full one is cut.
    full = torch.nn.functional.conv_transpose1d(torch.nn.functional.elu(y), weight.permute(2, 1, 0), bias, stride=2)
    y = full[..., : 2 * y.shape[-1]]
print("decoded", y.flatten()[:size].tolist())

mean, log_variance = filled(3, at=1), filled(3, at=2)
p = torch.distributions.Normal(mean, (log_variance / 2).exp())
print("KL", torch.distributions.kl_divergence(p, torch.distributions.Normal(0.0, 1.0)).sum().item())

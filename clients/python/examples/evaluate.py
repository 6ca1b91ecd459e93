# %% [markdown]
# # Compare hiding methods on a folder of photographs
#
# The service must be told of the folder: `stegomq up --http 127.0.0.1:8080 --datasets photos=DIR`.
# The packages: `pip install './clients/python[evaluate]'`. Editors with cells (VS Code, PyCharm, Jupytext) run this
# file as a notebook.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import stegomq

client = stegomq.Client()  # STEGOMQ_URL and STEGOMQ_TOKEN
print("data sets:", client.datasets(), "models:", [model.name for model in client.models()])

# %% [markdown]
# Every image pair is embedded with every key, recovered with every key, and measured. The second time the scores come
# from the cache.

# %%
models = ["sealed", "modulo"]
runs = {
    name: client.evaluate("photos", model=name, keys=["alice", "bob"], size=256, limit=4, noise=0) for name in models
}

# %% [markdown]
# The table shows the stego image against its cover, and the secret against the outputs of the right key and of
# another user's key. `sealed` refuses other keys, so there is no image to measure.

# %%
items = pd.concat({name: run.items() for name, run in runs.items()}, names=["model"]).reset_index(level="model")
roles = {"imperceptibility": "stego", "recoverability": "recovered", "leakage_mismatched": "another key"}
table = items[items.role.isin(roles)].groupby(["model", "role"]).psnr.agg(["mean", "min", "count"]).round(2)
print(table)

# %%
figure, axes = plt.subplots(1, len(roles), figsize=(9, 3.2), sharey=True)
for axis, (role, title) in zip(axes, roles.items(), strict=True):
    groups = [items[(items.role == role) & (items.model == name)].psnr.dropna() for name in models]
    axis.boxplot(groups)
    axis.set_xticks(range(1, len(models) + 1), models)
    axis.set_title(title)
axes[0].set_ylabel("PSNR, dB")
figure.tight_layout()
figure.savefig("quality.png", dpi=120)

# %% [markdown]
# The worst pair of each model:

# %%
recovered = items[items.role == "recoverability"]
print(recovered.loc[recovered.groupby("model").psnr.idxmin(), ["model", "item", "embed_key", "psnr", "ssim"]])

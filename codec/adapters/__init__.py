"""Other people's codecs behind our interface: audio of one channel to codes, and back.

`codec.load("mimi:PATH_OR_HUB_ID")` gives a `Codec` on one of these. They do not keep what our own
model promises: their codes are only as exact as the machine's floating point, and depend on what
else is in a batch and on where audio is cut. So items are coded one at a time and whole.
"""

from codec.adapters.base import AdapterConfig, TorchAdapter
from codec.adapters.find import ADAPTERS, adapter_named, open_adapter

__all__ = ["ADAPTERS", "AdapterConfig", "TorchAdapter", "adapter_named", "open_adapter"]

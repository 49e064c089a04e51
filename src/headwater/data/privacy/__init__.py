"""Personal data found and acted on; tables made anonymous; answers that give nobody away.

What other rooms' stages call: `find(text)` gives the spans, `act(text, spans, actions, key)` the text without them.
"""

from headwater.data.privacy.actions import Action, act
from headwater.data.privacy.finding import find
from headwater.data.privacy.recogniser import ALL, Label, Recogniser, Span

__all__ = ["ALL", "Action", "Label", "Recogniser", "Span", "act", "find"]

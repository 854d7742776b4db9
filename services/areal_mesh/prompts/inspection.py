"""Settings of the prompts that a model's chat template does not read, so that they would change nothing."""

from collections.abc import Iterator

from areal_mesh.prompts.plain_tokenizer import PlainTokenizer, template_variables
from areal_mesh.prompts.renderer import PromptRenderer, own_chat_template
from areal_mesh.runtime.settings import PromptSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE

_PROBLEM = "1+1?"


def unread_settings(tokenizer: PlainTokenizer, settings: PromptSettings) -> Iterator[str]:
    """A line for each. A template that cannot be rendered is told by `PromptRenderer`."""
    if settings.template != CHAT_TEMPLATE:
        return
    own = own_chat_template(settings)
    read = template_variables(own.get("chat_template", tokenizer.chat_template))
    for name in settings.chat_template_kwargs:
        if name not in read:
            yield (
                f"prompts.chat_template_kwargs.{name}: the chat template does not read it; it reads "
                f"{', '.join(sorted(read - {'messages', 'raise_exception', 'strftime_now'}))}"
            )
    if settings.system and settings.system.strip() not in PromptRenderer(tokenizer, settings).text(_PROBLEM):
        yield "prompts.system: the chat template leaves it out; put it into prompts.instruction"

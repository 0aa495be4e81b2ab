"""What can stand behind the fault proxy as `llm`, one file for each choice of `--llm`."""

from chaos.stack.model_servers.model_server import ModelServer
from chaos.stack.model_servers.request import SIMULATOR, LlmRequest
from chaos.stack.model_servers.simulator import simulator

__all__ = ["SIMULATOR", "LlmRequest", "ModelServer", "simulator"]

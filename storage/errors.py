"""What can go wrong, as people read it: every message is one sentence that says what, which value, and what to do.

StarloopError
  UserMistake          an argument, key, ref or file that does not fit; nothing has been done
  StorageFault         the home cannot be written or read
    StorageFull        no space left; nothing half-written is ever read
    StorageBusy        another process or thread holds what is needed
    DamagedShard       a shard whose content is not what its name says
  AccountingError      a step that lost or invented rows; its successor does not start
  EngineFault          an engine or its process failed; a resume asks only for what is missing
  TrainingFault        a fine-tune that would learn nothing, or whose process failed
  VerifierFault        the processes that judge cannot be had; no verdict is affected
  ServerFault          a server (Prefect, MLflow) that does not answer
  PromotionRefused     a gate that a checkpoint did not pass; the champion stays, and the ledger has the figures
"""


class StarloopError(Exception):
    """The parent of all of them; its text is a sentence for people."""


class UserMistake(StarloopError):
    """Something asked for does not exist or does not fit."""


class StorageFault(StarloopError):
    """The home cannot be written or read."""


class StorageFull(StorageFault):
    """The disk is full; what was being written has been removed."""


class StorageBusy(StorageFault):
    """What is needed is held by somebody else, for longer than was to be waited."""


class DamagedShard(StorageFault):
    """A shard is missing, unreadable, or not what its name says."""


class AccountingError(StarloopError):
    """ok + rejected + undecided + failed is not what was asked."""


class EngineFault(StarloopError):
    """Text generation failed as a whole; finished responses are in the journal."""


class TrainingFault(StarloopError):
    """Fine-tuning refused to start or did not finish."""


class VerifierFault(StarloopError):
    """The processes that judge could not be started, or were stopped; a resume asks only for what is missing."""


class ServerFault(StarloopError):
    """A server that is needed does not answer."""


class PromotionRefused(StarloopError):
    """A checkpoint did not pass a gate; nothing was moved."""

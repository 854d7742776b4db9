"""Settings of the five services, one model each."""

import socket
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from areal_mesh.runtime.addresses import Address, parse_host
from areal_mesh.runtime.settings.base import Seconds, Settings
from areal_mesh.runtime.settings.lora import LoraSettings
from areal_mesh.runtime.settings.loss_scale import LossScaleSettings
from areal_mesh.runtime.settings.muon import MuonSettings
from areal_mesh.runtime.settings.rewards import RewardList

OWN_HOST = "{host}"
"""In an address or a name: the name of the machine or container that a service runs on."""
Durability = Literal["none", "write", "sync"]


class ServiceSettings(Settings):
    """What every service has."""

    listen: str = "127.0.0.1:0"
    """host:port to serve on, [::1]:0 for an IPv6 address; port 0 takes a free one, which registration makes known."""
    advertise: str = ""
    """Host under which others reach the service; empty: the host of `listen`. `{host}` in it stands for the name of the
    machine or container that the service runs on: one setting for many of them."""
    cores: list[int] | None = None
    """Cores the process is pinned to, as positions among those it may use; left out, the scheduler decides."""
    niceness: int = Field(default=0, ge=0, le=19)
    """How far the process, and what it starts, stands back where cores are short, as `nice` counts. Where an engine has
    all cores of a machine, 10 for the services beside it: a core that is taken from a kernel holds all of it up."""
    gpus: list[int] | None = None
    """GPUs the process sees; left out, all."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the Prometheus endpoint, 0 for a free one; left out, there is none."""
    metrics_host: str = ""
    """Host that the Prometheus endpoint listens on; empty: the host of `listen`. It answers in plain text to whoever
    reaches it: name an interface that Prometheus alone does."""
    drain_seconds: Seconds = 20.0
    """Longest time for what is in flight at a drain."""
    stall_steps: float = Field(default=20.0, ge=0)
    """Times the median step without progress after which the service writes down its stacks and says what it waits
    for; 0: never."""
    stall_seconds: Seconds = 60.0
    """No shorter time is a stall, however fast steps are; before the first steps, what a step is taken to last."""

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return str(Address.parse(value))

    @field_validator("advertise", "metrics_host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        if OWN_HOST in value:
            # Its own name, which is not known here, is a name too.
            parse_host(value.replace(OWN_HOST, "host"))
            return value
        return parse_host(value) if value else value

    @property
    def address(self) -> Address:
        """Where the service listens."""
        return Address.parse(self.listen)

    @property
    def metrics_address(self) -> Address:
        """Where the Prometheus endpoint listens, if there is one."""
        return Address(self.metrics_host or self.address.host, self.metrics_port or 0)

    @property
    def reached_host(self) -> str:
        """Host under which others reach the service."""
        return self.advertise.replace(OWN_HOST, socket.gethostname()) or self.address.host


class ControllerSettings(ServiceSettings):
    """Membership, leases, publishing."""

    listen: str = "127.0.0.1:7400"
    """Where the controller serves: the one address that a run's services and people are given."""
    heartbeat_seconds: Seconds = 1.0
    """Between two signs of life of a member."""
    lease_seconds: Seconds = 10.0
    """A member silent for this long is lost; its leases are issued again."""
    group_attempts: int = Field(default=3, gt=0)
    """How often a group's generation may fail before the group ends as failed."""
    fruitless_groups: int = Field(default=256, ge=0)
    """Groups that may end filtered or failed in a row, none stored between, before the run ends and says for what
    reason most of them did; twice the groups in flight, if that is more; 0 for as many as it takes."""


class GeneratorSettings(ServiceSettings):
    """vLLM and the rollout loop."""

    device: Literal["cpu", "cuda"] = "cuda"
    """Where the engine computes."""
    max_groups_in_flight: int = Field(default=64, gt=0)
    """Most leases held at once, groups that are graded or stored among them. How many are worked on follows from
    `max_sequences` and the KV-cache use."""
    max_sequences: int = Field(default=256, gt=0)
    """Responses that each replica of the engine computes at once: vLLM's max_num_seqs."""
    engine_cores: list[int] | None = None
    """Cores of the engine's processes, as positions among the generator's; the service's own Python then keeps to the
    others. Left out, they share."""
    kv_cache_gib: float = Field(default=2.0, gt=0)
    """On CPU: memory for the KV cache."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of a GPU's memory that the engine takes: weights, KV cache and what it computes with."""
    tensor_parallel_size: int = Field(default=1, gt=0)
    """GPUs that share each replica of the model."""
    data_parallel_size: int = Field(default=1, gt=0)
    """Replicas of the model in one engine."""
    services: int = Field(default=1, gt=0)
    """Generators of the run, each a service with an engine of its own. `areal-mesh up` starts one on this machine;
    `areal-mesh serve generator` starts the others where they belong, under a name each."""
    enforce_eager: bool = True
    """Without torch.compile and CUDA graphs: starts sooner. On CPU always: a small model runs no slower."""
    verify_seconds: Seconds = 60.0
    """How long a group waits for a verifier, restarts of it among that."""
    verify_attempts: int = Field(default=3, gt=0)
    """How often responses whose verdict is an error are graded, before their group is filtered."""
    append_seconds: Seconds = 60.0
    """How long a group waits for the replay buffer, restarts of it among that."""
    answers_at_once: int = Field(default=8, ge=0)
    """Requests beside the run (`Generate`) that are answered at once; 0 for none. They share the engine with the run's
    groups."""

    @property
    def gpu_count(self) -> int:
        """GPUs of all generators of the run."""
        return self.services * self.transfer_ranks if self.device == "cuda" else 0

    @property
    def transfer_ranks(self) -> int:
        """Workers of one engine, each a rank in the transfer of a publish."""
        return self.tensor_parallel_size * self.data_parallel_size

    @model_validator(mode="after")
    def _replicas_have_gpus(self) -> Self:
        if self.device == "cpu" and self.data_parallel_size > 1:
            raise ValueError(
                f'data_parallel_size = {self.data_parallel_size} with device = "cpu": an engine has replicas on GPUs '
                "alone; set it to 1, and start more generators instead"
            )
        return self


class VerifierSettings(ServiceSettings):
    """Grading."""

    protocol: Literal["qwen", "strict_qwen"] = "qwen"
    """How answers are compared: by Qwen's rules, or by them with their mistakes, for comparisons."""
    rounded_golds: bool = False
    """Take a reference that is a decimal for a rounded one: 66.7 is answered by 200/3. For data whose references are
    rounded to few places."""
    workers: int = Field(default=2, gt=0)
    """Worker processes for algebra."""
    answer_seconds: Seconds = 1.0
    """Deadline of one answer in a worker."""
    queue_items: int = Field(default=4096, gt=0)
    """Answers that may wait; what comes beyond is asked to come again."""
    cache_items: int = Field(default=65536, ge=0)
    """Verdicts that are kept for the same answer to the same problem; 0 for none."""
    reward_terms: dict[str, dict[str, int | float | bool | str]] = {}
    """Further terms of the reward, by entry point name (group `areal_mesh.reward_terms`), each with its options:
    `[verifier.reward_terms.length_penalty]`, then one option a line."""
    reward: RewardList = []
    """Terms of the user's own: `"my_reward.py:score"`, the URL of a judge, a list of them, or sections with a type."""
    reward_alone: bool = False
    """The reward is the sum of these terms alone, and correctness no part of it; problems then need no references."""

    @model_validator(mode="after")
    def _has_a_reward(self) -> Self:
        if self.reward_alone and not (self.reward or self.reward_terms):
            raise ValueError("reward_alone = true with no term: every reward would be 0; name one in `reward`")
        twice = [reward.term for reward in self.reward if reward.term in self.reward_terms]
        if twice:
            raise ValueError(f"{twice[0]!r} stands in reward and in reward_terms; give the reward a `name` of its own")
        return self


class ReplaySettings(ServiceSettings):
    """The durable log of rollouts."""

    waiting_bytes: int = Field(default=1 << 30, gt=0)
    """Most bytes of groups waiting to be drawn; beyond it generators wait."""
    segment_bytes: int = Field(default=64 << 20, ge=1 << 20)
    """Room for records in a file of the log."""
    kept_bytes: int = Field(default=1 << 30, ge=0)
    """Bytes of the log's files that stay once training needs them no more, the newest of them, so that their rollouts
    can be looked at; 0: none. A tenth of what the disk has free at most; on a full disk they go first."""
    patience_seconds: float = Field(default=600.0, ge=0, le=86400)
    """How long the draw of a step is held for groups that still run and that no later step could train; 0: not at
    all. What has not come by then is dropped when it comes, and that is the longest: give it the time of a response
    of full length (24K tokens at 40 a second by default)."""
    durability: Durability = "sync"
    """What an acknowledged group survives: `sync`, a loss of power; `write`, the end of the process, while a loss of
    power may take the last second; `none`, the end of the process, while a loss of power may take the log."""
    keep_released: bool = False
    """Keep on the disk what checkpoints cover, so that the log can be read, and replayed from the first step, at the
    end too; the disk then has to hold the rollouts of the whole run."""


class LearnerSettings(ServiceSettings):
    """PPO updates, checkpoints, and the sending end of a publish."""

    device: Literal["cpu", "cuda"] = "cuda"
    """Where updates are computed."""
    ranks: int = Field(default=1, gt=0)
    """Processes that share the model by FSDP2, over all hosts."""
    hosts: int = Field(default=1, gt=0)
    """Machines that the ranks lie on, as many on each: `areal-mesh serve learner --node-rank 0`, 1, ... on each."""
    rendezvous: str = ""
    """host:port on the first host, reached by the others, where the ranks of several hosts meet; not with `torchrun`,
    whose environment says it."""
    sharding: Literal["full", "hybrid"] = "full"
    """Over all ranks, or over those of each host while the hosts hold the same: more memory, and only gradients cross
    the network."""
    lost_rank_seconds: Seconds = 30.0
    """Silence after which another rank counts as lost; the learner then ends, and starts again from its checkpoint."""
    threads: int | None = Field(default=None, gt=0)
    """torch threads of a rank on CPU; left out, one for each core it is pinned to."""
    lora: LoraSettings | None = None
    """Train adapters of low rank and leave the model's own weights as they are; left out, all weights are trained."""
    muon: MuonSettings | None = None
    """Another optimizer than AdamW for the matrices of the decoder layers; left out, AdamW for all."""
    learning_rate: float = Field(default=1e-5, gt=0, le=1)
    """AdamW's, after the warm-up; `learner.muon` says how Muon's is to it."""
    warmup_share: float = Field(default=0.02, ge=0, le=1)
    """Share of the longest stage's optimizer steps over which the learning rate rises, in every stage."""
    warmup_counts: Literal["updates", "steps"] = "updates"
    """The rate rises with each update, the first of them having a share of it; or with each step, all of whose updates
    have the same, those of the first step 0, as in AReaL v0.1."""
    end_rate_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the learning rate that is left at the end of the schedule; falls by as much each step. 1: it stays."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's and Muon's, decoupled from the gradient."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's, of the mean of gradients."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW's, of the mean of their squares."""
    epsilon: float = Field(default=1e-5, gt=0)
    """AdamW's."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Longest global norm of a gradient; a longer one is scaled down to it."""
    loss_scale: LossScaleSettings = LossScaleSettings()
    max_tokens_per_micro_batch: int = Field(default=16384, gt=0)
    """Tokens that one pass holds, prompts included; a longer response is a pass of its own."""
    checkpoint_every: int = Field(default=10, gt=0)
    """Steps between checkpoints."""
    checkpoints_kept: int = Field(default=2, gt=0)
    """The newest so many; older ones are deleted."""
    checkpoint_copies: str | None = None
    """URL of a second place that whole checkpoints are copied to, for this run alone: a folder, or whatever fsspec
    knows (`s3://bucket/run`, with its package installed). Left out: none."""
    checkpoint_copies_kept: int = Field(default=2, gt=0)
    """The newest so many copies; older ones are deleted."""
    export_every: int = Field(default=0, ge=0)
    """Steps between exports in Hugging Face format; 0 exports at the end alone."""
    draw_seconds: Seconds = 30.0
    """Deadline of one try to read a batch from the replay buffer."""
    mismatch_alarm: float | None = Field(default=None, gt=0)
    """`mismatch_kl` of a step over which status shows a fault; training goes on. Left out: never."""
    mismatch_stop: float | None = Field(default=None, gt=0)
    """`mismatch_kl` of a step over which the run ends; left out, never. On CPU with float32 learner and engine agree to
    rounding: 1e-6 holds there."""

    @field_validator("rendezvous")
    @classmethod
    def _is_where_ranks_meet(cls, value: str) -> str:
        return str(Address.parse(value)) if value else value

    @model_validator(mode="after")
    def _ranks_lie_evenly(self) -> Self:
        if self.ranks % self.hosts:
            raise ValueError(
                f"ranks = {self.ranks} on hosts = {self.hosts}: as many lie on each; "
                f"set ranks to a multiple of {self.hosts}"
            )
        if self.sharding == "hybrid" and self.hosts == 1:
            raise ValueError('sharding = "hybrid" with hosts = 1: there is one replica; set it to "full"')
        return self

    @model_validator(mode="after")
    def _alarm_comes_first(self) -> Self:
        alarm, stop = self.mismatch_alarm, self.mismatch_stop
        if alarm is not None and stop is not None and alarm > stop:
            raise ValueError(f"mismatch_alarm = {alarm} is over mismatch_stop = {stop}, which ends the run; lower it")
        return self

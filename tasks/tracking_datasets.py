"""A training set as an MLflow data set: its digest is the ledger's mix id, and its source says how to get its rows."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.tracking_messages import DatasetUse

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput


def inputs(uses: Sequence[DatasetUse]) -> "list[DatasetInput]":
    """What a run is told it was trained on; a digest has at most 36 characters in MLflow, and a mix id has 32."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.types import ColSpec, Schema

    schema = Schema([ColSpec("string", "prompt"), ColSpec("string", "completion")])
    found: list[DatasetInput] = []
    for use in uses:
        source = CodeDatasetSource(
            {"starloop.mix_id": use.mix_id, "starloop.export": f"starloop export mix mix_{use.mix_id} --to mix.parquet"}
        )
        dataset = MetaDataset(source, use.name, use.mix_id[:36], schema)._to_mlflow_entity()
        dataset._profile = json.dumps({"num_rows": use.rows})
        found.append(DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]))
    return found

"""The manifests of deploy/kubernetes fit the schemas of Kubernetes, agree with each other, and give known options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.command_lines import parse

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
JOBS = ["harvest.yaml", "train.yaml", "report.yaml"]
MANIFESTS = ["volumes.yaml", *JOBS, "fetch.yaml"]


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def pod(name: str) -> dict[str, Any]:
    (job,) = manifests(name)
    template: dict[str, Any] = job["spec"]["template"]["spec"]
    return template


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_every_manifest_fits_the_schemas_of_kubernetes(version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate").validate
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(MANIFESTS)
    for name in MANIFESTS:
        for manifest in manifests(name):
            assert validate(manifest, version, strict=True) == version


def test_misspelt_field_of_a_manifest_does_not_fit_the_schemas() -> None:
    library = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate")
    (job,) = manifests("harvest.yaml")
    job["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(library.ValidationError, match="volumeMount"):
        library.validate(job, "1.30", strict=True)


def test_documentation_applies_every_manifest() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    applied = re.findall(r"^kubectl apply -f deploy/kubernetes/(\S+)", page, re.MULTILINE)
    assert applied == MANIFESTS


@pytest.mark.parametrize("name", JOBS)
def test_arguments_of_a_job_are_a_command_line_that_is_known(name: str) -> None:
    (container,) = pod(name)["containers"]
    assert parse(container["args"]).params


def test_manifest_of_the_harvest_says_the_number_of_workers_once() -> None:
    (job,) = manifests("harvest.yaml")
    (container,) = pod("harvest.yaml")["containers"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert {str(job["spec"]["completions"]), str(job["spec"]["parallelism"])} == {environment["JOB_COMPLETIONS"]}


@pytest.mark.parametrize("name", JOBS)
def test_jobs_mount_the_volumes_that_are_claimed(name: str) -> None:
    claimed = {claim["metadata"]["name"] for claim in manifests("volumes.yaml")}
    volumes = pod(name)["volumes"]
    assert {v["persistentVolumeClaim"]["claimName"] for v in volumes if "emptyDir" not in v} == claimed
    (container,) = pod(name)["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in volumes}


def test_pod_that_shows_the_report_mounts_the_volume_that_the_report_is_written_to() -> None:
    (fetch,) = manifests("fetch.yaml")
    report = pod("report.yaml")
    claims = {
        volume["name"]: volume["persistentVolumeClaim"] for volume in report["volumes"] if "emptyDir" not in volume
    }
    (volume,) = fetch["spec"]["volumes"]
    assert volume["persistentVolumeClaim"] == claims["runs"]
    (mount,) = fetch["spec"]["containers"][0]["volumeMounts"]
    (written,) = (mount for mount in report["containers"][0]["volumeMounts"] if mount["name"] == "runs")
    assert mount["mountPath"] == written["mountPath"] == "/nsae/runs"
    (out,) = (word.removeprefix("--out=") for word in report["containers"][0]["args"] if word.startswith("--out="))
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"kubectl cp nsae-fetch:/nsae/{out} " in page

"""Starting a job again whose time is up: SLURM's `scontrol requeue`."""

import os
import subprocess

_PATIENCE = 60  # seconds


def requeue_job() -> str | None:
    """Asks SLURM to start this job again, and returns a line that says what came of it; None outside of SLURM.

    The job is that of SLURM_JOB_ID, or of SLURM_ARRAY_JOB_ID and SLURM_ARRAY_TASK_ID.

    Example:
        >>> requeue_job() is None
        True
    """
    job = os.environ.get("SLURM_JOB_ID")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    if not job:
        return None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the job {job} was not requeued: scontrol: {getattr(error, 'strerror', None) or 'no answer'}"
    if done.returncode:
        return f"the job {job} was not requeued: {' '.join(done.stderr.split()) or f'scontrol: {done.returncode}'}"
    return f"the job {job} is requeued"

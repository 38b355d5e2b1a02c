"""The directories of sidecars, and what is left in them."""

import subprocess
import sys
from pathlib import Path


def test_who_is_in_a_group_without_a_number_of_its_own_here_does_not_end_us(tmp_path: Path):
    (tmp_path / "cgroup.procs").write_text("0\n")  # as the kernel shows whoever lives outside of our namespace
    end = "import sys; from pathlib import Path; from controlplane.sidecars.places import _end_group; "
    end += "assert not _end_group(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", end, str(tmp_path)], check=True, start_new_session=True)

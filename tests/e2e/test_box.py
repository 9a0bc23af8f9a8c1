"""`soma box`: what a program finds when the launcher has started it.

Drives the command alone; SOMA_BUILD names the build folder (build).
"""

import contextlib
import fcntl
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
UID = 61187
IS_ROOT = os.geteuid() == 0
CGROUPS = pathlib.Path("/sys/fs/cgroup")
needs_root = pytest.mark.skipif(not IS_ROOT, reason="changing users takes root")
PYTHON = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(p)), None)
needs_python = pytest.mark.skipif(not PYTHON, reason="wants a python3 that every user can read")


def find_box():
    build = ROOT / os.environ.get("SOMA_BUILD", "build")
    alone = build / "src" / "box" / "soma-box-test"
    command = [str(alone)] if alone.exists() else [str(build / "soma"), "box"]
    if not os.path.exists(command[0]):
        pytest.skip(f"not built: {command[0]}", allow_module_level=True)
    return command


BOX = find_box()


@pytest.fixture
def open_dir():
    """A directory that every user can enter; pytest's own are private."""
    path = tempfile.mkdtemp(prefix="soma-box-")
    os.chmod(path, 0o755)
    yield pathlib.Path(path)
    shutil.rmtree(path)


def high(fd):
    """The same file under a number that a shell cannot confuse."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD, 40)
    os.close(fd)
    return copy


class Result:
    def __init__(self, code, out, err, status):
        self.code, self.out, self.err, self.status = code, out, err, status

    @property
    def failure(self):
        assert self.status.endswith("\n") and self.status.count("\n") == 1
        return json.loads(self.status)


def start(args, program, prefix=(), inherit=(), **kwargs):
    """The process and the read end of its status pipe."""
    r, w = os.pipe()
    r, w = high(r), high(w)
    line = ["bash", "-c", f'exec "$@" 3</dev/null 4</dev/null 5>&{w} {w}>&-', "bash"]
    child = subprocess.Popen(
        [*line, *prefix, *BOX, *map(str, args), "--", *map(str, program)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, pass_fds=(w, *inherit), restore_signals=False, **kwargs)
    os.close(w)
    return child, r


def run(args, program, **kwargs):
    child, r = start(args, program, **kwargs)
    with os.fdopen(r) as pipe:
        status = pipe.read()
    out, err = child.communicate(timeout=30)
    return Result(child.returncode, out, err, status)


def shell(args, script, **kwargs):
    done = run(args, ["/bin/sh", "-c", script], **kwargs)
    assert done.status == "", done.status
    return done


def as_user(*args):
    return ["--uid", UID, *args] if IS_ROOT else list(args)


# --- what a program finds ---------------------------------------------------


def test_program_runs_and_its_status_is_the_boxes():
    done = shell(["--dir", "/usr"], 'pwd; echo "$0" >&2; exit 7')
    assert (done.code, done.out, done.status) == (7, "/usr\n", "")


def test_status_pipe_is_silent_until_exec_and_then_ends():
    child, r = start([], ["/bin/sleep", "30"])
    with os.fdopen(r) as pipe:
        assert pipe.read() == ""  # ends although the program runs on
    assert child.poll() is None
    child.kill()
    child.communicate()


def test_own_session_and_group():
    done = shell([], "cut -d' ' -f1,5,6 /proc/$$/stat")
    pid, group, session = done.out.split()
    assert pid == group == session


def test_signals_are_as_a_program_expects_them():
    # Python ignores SIGPIPE, and the child would inherit it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        done = shell([], "grep -E '^Sig(Ign|Blk)' /proc/self/status; umask")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    assert "SigBlk:\t0000000000000000" in done.out
    ignored = int(done.out.split("SigIgn:\t")[1].split()[0], 16)
    # glibc's posix_spawn (make uses it) leaves its own two signals ignored.
    assert ignored & ~(1 << 31 | 1 << 32) == 0
    assert done.out.endswith("0022\n")


@pytest.mark.parametrize("keep, want", [([], ""), (["--keep-fds", "3,4"], "3 4 "),
                                        (["--keep-fds", "4"], "4 ")])
def test_only_named_descriptors_are_inherited(keep, want):
    line = 'exec 30</dev/null 31</dev/null; exec "$@"'
    done = shell(keep, 'for f in 3 4 5 6 10 30 31 99; do [ -e /proc/$$/fd/$f ] && '
                 'printf "%s " $f; done; true', prefix=["bash", "-c", line, "bash"])
    assert done.out == want


def test_closed_standard_descriptors_are_filled():
    done = subprocess.run(["bash", "-c", 'exec "$@" <&- 2>&-', "bash", *BOX, "--", "/bin/sh", "-c",
                           "readlink /proc/$$/fd/0 /proc/$$/fd/2"], stdout=subprocess.PIPE, text=True)
    assert done.stdout == "/dev/null\n/dev/null\n"


def test_limits():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = shell(["--nofile", "777", "--oom-score-adj", "321"],
                 "ulimit -c; ulimit -n; cat /proc/self/oom_score_adj")
    assert done.out.split() == ["0", "777", "321"]
    if not IS_ROOT and hard != resource.RLIM_INFINITY:
        assert shell(["--nofile", str(hard * 2)], "ulimit -n").out.strip() == str(hard)


def test_processors_are_reserved_not_pinned():
    allowed = sorted(os.sched_getaffinity(0))
    script = "grep Cpus_allowed_list /proc/self/status | cut -f2"
    assert shell(["--cpu-millis", "100"], script).out == shell([], script).out
    assert shell(["--cpus", str(allowed[0])], script).out.strip() == str(allowed[0])
    assert run(["--cpus", "x"], ["/bin/true"]).failure["step"] == "options"


def test_thread_counts_follow_the_reservation_and_yield_to_the_user():
    env = {**os.environ, "MKL_NUM_THREADS": "5"}
    done = shell(["--cpu-millis", "1200"], "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS "
                 "$NUMEXPR_NUM_THREADS $MKL_NUM_THREADS $SOMA_CPU_THREADS", env=env)
    assert done.out.split() == ["2", "2", "2", "5", "2"]
    env = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    assert shell([], 'echo "$OMP_NUM_THREADS"', env=env).out == "\n"


def test_marks():
    done = shell(["--name", "iris-4-0", "--instance", "soma-abc"], "echo $SOMA_REPLICA $SOMA_INSTANCE")
    assert done.out == "iris-4-0 soma-abc\n"


# --- its user ----------------------------------------------------------------


@needs_root
def test_user_is_dropped_for_good():
    done = shell(["--uid", UID], "id -u; id -g; id -G; "
                 "grep -E '^(NoNewPrivs|Cap(Prm|Eff|Amb))' /proc/self/status; kill -0 1 2>/dev/null || echo apart")
    lines = done.out.split("\n")
    assert lines[:3] == [str(UID)] * 3
    assert "NoNewPrivs:\t1" in done.out
    for cap in ("CapPrm", "CapEff", "CapAmb"):
        assert f"{cap}:\t0000000000000000" in done.out
    assert "apart" in done.out


@needs_root
def test_group_of_its_own():
    assert shell(["--uid", UID, "--gid", "4711"], "id -u; id -g").out.split() == [str(UID), "4711"]


@needs_root
def test_the_starters_directories_are_not_passed_on(open_dir, tmp_path):
    usable = open_dir / "cache"
    usable.mkdir()
    os.chmod(usable, 0o777)
    env = {"PATH": os.environ["PATH"], "HOME": "/root", "XDG_RUNTIME_DIR": str(tmp_path),
           "XDG_CACHE_HOME": str(usable)}
    script = 'echo "$HOME,$USER,$LOGNAME,$XDG_RUNTIME_DIR,$XDG_CACHE_HOME"'
    assert shell(["--uid", UID], script, env=env).out == f"/nonexistent,soma,soma,,{usable}\n"
    assert shell([], script, env={**env, "USER": "me"}).out.startswith("/root,me,")


def with_environment(args, script, variables, **kwargs):
    """The program's environment as the keeper gives it: in a file."""
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(v.encode() + b"\0" for v in variables))
        file.flush()  # the offset stays at the end
        fd = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, 30)
        os.set_inheritable(fd, True)
        done = run(["--env-fd", fd, *args], ["sh", "-c", script], inherit=(fd,), **kwargs)
        os.close(fd)
    assert done.status == "", done.status
    return done


def test_environment_by_descriptor_is_the_programs_alone():
    done = with_environment(["--name", "n-1", "--cpu-millis", 2000], "env; ls /proc/self/fd",
                            ["PATH=/bin:/usr/bin", "A=b=c", "SOMA_REPLICA=false", "SOMA_REPLICA=too",
                             "MKL_NUM_THREADS=7", "no variable"], env={**os.environ, "LEAK": "1"})
    lines = done.out.splitlines()
    assert {"PATH=/bin:/usr/bin", "A=b=c", "SOMA_REPLICA=n-1", "OMP_NUM_THREADS=2", "MKL_NUM_THREADS=7"} <= set(lines)
    assert not [x for x in lines if x.startswith("LEAK") or x == "SOMA_REPLICA=false" or x == "no variable"]
    assert "30" not in lines, "the file itself is not the program's"


def test_environment_that_cannot_be_read():
    failure = run(["--env-fd", 99], ["/bin/true"]).failure
    assert failure["step"] == "environment" and failure["errno"] == 9


def test_home_is_made_and_private(open_dir):
    home = open_dir / "home"
    for _ in range(2):  # the second start finds it
        done = shell(as_user("--home", home), 'echo $HOME $TMPDIR; touch $TMPDIR/x $HOME/y && stat -c %a $HOME')
        assert done.out.split() == [str(home), f"{home}/tmp", "700"]
    os.rename(home, open_dir / "old")
    os.symlink("/etc", home)
    failure = run(as_user("--home", home), ["/bin/true"]).failure
    assert failure["step"] == "home" and str(home) in failure["message"]


@needs_root
@pytest.mark.skipif(not all(p.stat().st_mode & 0o001 for p in pathlib.Path(BOX[0]).resolve().parents),
                    reason="the build folder lies where no other user may enter")
def test_without_root_what_takes_root_is_left_out(open_dir):
    done = shell(["--uid", UID, "--mask", "/etc", "--cgroup", "soma-none/x", "--oom-score-adj", "-500"],
                 "id -u; ls /etc/passwd; cat /proc/self/cgroup", user=65534, group=65534, extra_groups=[])
    assert done.out.startswith("65534\n/etc/passwd\n") and "soma-none" not in done.out
    assert done.err == ""


# --- its parent --------------------------------------------------------------


def test_dies_with_its_parent(open_dir):
    """Also when the user changes, which makes the kernel forget the wish."""
    code = ("import os, subprocess, sys\n"
            "p = subprocess.Popen([*sys.argv[1:-3], '--parent-pid', str(os.getpid()), *sys.argv[-3:]])\n"
            "print(p.pid, flush=True)\n"
            "p.wait()\n")
    keeper = subprocess.Popen([sys.executable, "-c", code, *BOX, *map(str, as_user()), "--", "/bin/sleep", "60"],
                              stdout=subprocess.PIPE, text=True)
    pid = int(keeper.stdout.readline())
    comm = pathlib.Path(f"/proc/{pid}/comm")
    wait_for(lambda: comm.read_text() == "sleep\n")
    keeper.kill()
    keeper.communicate()

    def gone():
        try:
            return ") Z " in pathlib.Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_for(gone)


def test_does_not_start_for_another_parent():
    done = run(["--parent-pid", "1"], ["/bin/echo", "ran"])
    assert (done.code, done.out) == (127, "")
    assert done.failure["step"] == "parent"


# --- what it needs -----------------------------------------------------------


@needs_root
def test_need_names_what_blocks_and_the_remedy(open_dir):
    private = open_dir / "private"
    model = private / "model" / "weights.bin"
    model.parent.mkdir(parents=True)
    model.write_text("x")
    os.chmod(private, 0o700)
    done = run(["--uid", UID, "--need", "/usr", "--need", model], ["/bin/echo", "ran"])
    assert (done.code, done.out) == (126, "")
    assert done.failure == {
        "step": "need", "errno": 13,
        "message": f"the replica's user (uid {UID}) cannot read {model}: "
                   f"{private} is only for its owner (mode 0700)",
        "remedy": f"move it to a place every user can read, such as /opt, or run: chmod o+x {private}",
    }
    os.chmod(private, 0o711)
    assert shell(["--uid", UID, "--need", model], "echo ran").out == "ran\n"
    os.chmod(model, 0o640)
    failure = run(["--uid", UID, "--need", model], ["/bin/true"]).failure
    assert f"{model} is only for its owner and its group (mode 0640)" in failure["message"]
    assert failure["remedy"] == f"let every user read it: chmod o+r {model}"
    os.chmod(model, 0o644)
    os.chmod(model.parent, 0o711)
    failure = run(["--uid", UID, "--need", model.parent], ["/bin/true"]).failure
    assert failure["remedy"].endswith(f"chmod -R o+rX {model.parent}")


@needs_root
def test_need_looks_behind_links(open_dir):
    private = open_dir / "private"
    private.mkdir(mode=0o700)
    (private / "python").write_text("x")
    (open_dir / "python").symlink_to(private / "python")
    failure = run(["--uid", UID, "--need", open_dir / "python"], ["/bin/true"]).failure
    assert f"cannot read {open_dir}/python: {private} is only for its owner" in failure["message"]


@needs_root
def test_need_of_a_program_that_only_its_owner_may_execute(open_dir):
    tool = open_dir / "tool"
    tool.write_text("#!/bin/sh\n")
    os.chmod(tool, 0o744)
    failure = run(["--uid", UID, "--need", tool], ["/bin/true"]).failure
    assert f"{tool} is not executable for it (mode 0744)" in failure["message"]


def test_need_that_is_not_there(open_dir):
    failure = run(["--need", open_dir / "a" / "b"], ["/bin/true"]).failure
    assert failure["step"] == "need" and failure["errno"] == 2
    assert f"{open_dir}/a does not exist" in failure["message"]


@needs_root
def test_working_directory_that_it_may_not_enter(open_dir):
    shut = open_dir / "shut"
    shut.mkdir(mode=0o700)
    done = run(["--uid", UID, "--dir", shut], ["/bin/true"])
    assert done.code == 127 and done.failure["step"] == "dir"
    assert f"cannot work in {shut}: {shut} is only for its owner (mode 0700)" in done.failure["message"]
    assert f"chmod o+x {shut}" in done.failure["remedy"]
    failure = run(["--dir", open_dir / "no"], ["/bin/true"]).failure
    assert f"{open_dir}/no does not exist" in failure["message"]


@needs_root
def test_mask_shows_only_what_is_bound(open_dir):
    data = open_dir / "top" / "data"
    for name in ("project", "secrets", "env"):
        (data / name).mkdir(parents=True)
        (data / name / "file").write_text(name)
    (open_dir / "top" / "token").write_text("s3cret")
    os.chmod(open_dir / "top", 0o700)
    args = ["--uid", UID, "--mask", open_dir / "top", "--bind", data / "project", "--bind", data / "env",
            "--dir", data / "project", "--need", data / "project" / "file"]
    done = shell(args, f"pwd; cat file; ls {open_dir}/top {data}; touch {data}/x 2>/dev/null || echo no; "
                 f"cat {open_dir}/top/token 2>/dev/null || echo hidden")
    assert done.out.split() == [str(data / "project"), "project" + f"{open_dir}/top:", "data",
                                f"{data}:", "env", "project", "no", "hidden"]
    # Nothing of it is seen outside.
    assert (open_dir / "top" / "token").read_text() == "s3cret"
    assert not (data / "x").exists()


@needs_root
def test_what_a_mask_hides_is_called_private_not_missing(open_dir):
    top = open_dir / "top"
    (top / "data").mkdir(parents=True)
    (top / "venv").write_text("x")
    os.chmod(top, 0o700)
    args = ["--uid", UID, "--mask", top, "--bind", top / "data"]
    failure = run([*args, "--need", top / "venv"], ["/bin/true"]).failure
    assert f"cannot read {top}/venv: {top} is only for its owner (mode 0700)" in failure["message"]
    assert f"chmod o+x {top}" in failure["remedy"]
    failure = run([*args, "--need", top / "no"], ["/bin/true"]).failure
    assert f"{top}/no does not exist" in failure["message"]
    assert run([*args], [top / "venv"]).failure["step"] == "need"
    assert run(["--uid", UID, "--mask", top, "--bind", "/usr"], ["/bin/true"]).failure["step"] == "options"
    assert run(["--uid", UID, "--mask", top, "--bind", top / "no"], ["/bin/true"]).failure["step"] == "mask"


# --- the program itself ------------------------------------------------------


def test_program_that_is_nowhere():
    done = run([], ["no-such-program"], env={"PATH": "/usr/bin:/bin"})
    assert done.code == 127
    assert done.failure == {"step": "exec", "errno": 2,
                            "message": "program 'no-such-program' was not found in PATH (/usr/bin:/bin)",
                            "remedy": "install it, or give its full path"}
    failure = run([], ["/usr/no/such"]).failure
    assert failure["message"] == "program /usr/no/such was not found: /usr/no does not exist"


@needs_root
def test_program_in_a_place_only_root_can_look_into(open_dir):
    bin_dir = open_dir / "shut" / "bin"
    bin_dir.mkdir(parents=True)
    shutil.copy("/bin/true", bin_dir / "my-server")
    os.chmod(open_dir / "shut", 0o700)
    done = run(["--uid", UID], ["my-server"], env={"PATH": f"/usr/bin:{bin_dir}"})
    assert done.code == 126
    assert (f"cannot run {bin_dir}/my-server: {open_dir}/shut is only for its owner"
            in done.failure["message"])
    assert f"chmod o+x {open_dir}/shut" in done.failure["remedy"]
    # A name that is nowhere is not blamed on what cannot be looked into.
    failure = run(["--uid", UID], ["no-such"], env={"PATH": f"/usr/bin:{bin_dir}"}).failure
    assert failure["step"] == "exec" and failure["remedy"].startswith("install it")
    failure = run(["--uid", UID], [bin_dir / "my-server"]).failure
    assert failure["step"] == "need" and "cannot run" in failure["message"]


def test_scripts_name_their_interpreter(open_dir):
    script = open_dir / "serve"
    script.write_text("#!/usr/no/python3 -u\n")
    os.chmod(script, 0o755)
    failure = run([], [script]).failure
    assert failure["step"] == "exec"
    assert "its first line names the interpreter /usr/no/python3, and /usr/no does not exist" in failure["message"]
    if IS_ROOT:
        (open_dir / "shut").mkdir(mode=0o700)
        shutil.copy("/bin/true", open_dir / "shut" / "python3")
        script.write_text(f"#! {open_dir}/shut/python3\n")
        failure = run(["--uid", UID], [script]).failure
        assert failure["step"] == "need" and f"{open_dir}/shut is only for its owner" in failure["message"]
    script.write_text("echo hi\n")
    failure = run([], [script]).failure
    assert "neither a binary for its processor nor a script with #!" in failure["message"]
    os.chmod(script, 0o644)
    failure = run([], [script]).failure
    assert "is not executable for it (mode 0644)" in failure["message"]
    assert "chmod a+rx" in failure["remedy"]
    assert "is a directory" in run([], [open_dir]).failure["message"]


def test_program_is_found_below_the_working_directory(open_dir):
    (open_dir / "run.sh").write_text("#!/bin/sh\necho here\n")
    os.chmod(open_dir / "run.sh", 0o755)
    assert run(["--dir", open_dir], ["./run.sh"]).out == "here\n"


# --- control groups ----------------------------------------------------------


@contextlib.contextmanager
def group():
    """An instance's name; its groups are removed behind the test."""
    name = f"soma-e2e-{os.getpid()}"
    try:
        yield name
    finally:
        found = [d for d, _, _ in os.walk(CGROUPS) if f"/{name}" in d]
        for directory in sorted(found, key=len, reverse=True):
            for _ in range(200):
                try:
                    os.rmdir(directory)
                    break
                except OSError:
                    time.sleep(0.01)


def report():
    out = subprocess.run([*BOX, "--report"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {line[:19].strip(): line[19:] for line in out.splitlines()}


def test_group_is_made_and_joined():
    if report()["control groups"].split()[0] == "none":
        pytest.skip("no control groups for this user")
    with group() as name:
        done = shell(as_user("--cgroup", f"{name}/iris-4-0", "--cpu-millis", "500"), "cat /proc/self/cgroup")
        assert f"/{name}/iris-4-0\n" in done.out
        for line in done.out.splitlines():
            if line.split(":")[1] in ("memory", "cpu", "pids", "freezer") and IS_ROOT:
                assert line.endswith(f"/{name}/iris-4-0")
        shares = CGROUPS / "cpu" / name / "iris-4-0" / "cpu.shares"
        if shares.exists():
            assert shares.read_text() == "512\n"


@needs_python
def test_memory_limit_kills():
    if not report()["memory limits"].startswith("yes"):
        pytest.skip("no memory controller for this user")
    with group() as name:
        done = run(as_user("--cgroup", f"{name}/big-1-0", "--mem-limit", 48 << 20),
                   [PYTHON, "-c", "x = bytearray(200 << 20)"])
        assert done.code == -signal.SIGKILL


def test_memory_limit_that_cannot_be_kept_is_said():
    done = shell(["--mem-limit", "1000000"], "true")
    assert done.err == "soma box: --mem-limit has no effect without --cgroup\n"


@pytest.mark.parametrize("path", ["x", "/x", "x/", "a/b/c", "../x", "a/.."])
def test_group_outside_an_instance_is_refused(path):
    assert run(["--cgroup", path], ["/bin/true"]).failure["step"] == "options"


# --- the command -------------------------------------------------------------


def test_without_a_status_pipe_a_person_is_told():
    done = subprocess.run([*BOX, "--", "no-such-program"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    assert done.returncode == 127
    assert done.stderr.startswith("soma box: program 'no-such-program' was not found")
    assert "\n  remedy: " in done.stderr


def test_help_and_report():
    text = subprocess.run([*BOX, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for option in ("--name", "--need", "--mask", "--status-fd", "--report"):
        assert f"\n  {option}" in text
    assert max(map(len, text.splitlines())) <= 80
    assert report()["root"].startswith("yes" if IS_ROOT else "no")


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)

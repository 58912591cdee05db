"""What `cmake --install` brings: units, users, manual pages, completion, settings, and a dashboard that is found."""
import os
import re
import shutil
import subprocess

import pytest

from harness.deployment import BUILD, Process, wait_until


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A DESTDIR with everything under /usr."""
    root = tmp_path_factory.mktemp("install")
    done = subprocess.run(["cmake", "--install", BUILD, "--prefix", "/usr"], capture_output=True, text=True,
                          env={**os.environ, "DESTDIR": str(root)})
    assert done.returncode == 0, done.stderr
    return root


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def test_everything_is_where_a_system_looks_for_it(installed):
    for path in ("bin/rounds", "bin/rounds-server", "bin/rounds-site", "bin/rounds-trainer", "share/man/man1/rounds.1",
                 "share/man/man8/rounds-server.8", "share/man/man8/rounds-site.8", "share/man/man8/rounds-trainer.8",
                 "lib/systemd/system/rounds-server.service", "lib/systemd/system/rounds-site.service",
                 "lib/sysusers.d/rounds.conf", "lib/tmpfiles.d/rounds.conf", "share/rounds/settings/server.json",
                 "share/rounds/python/pyproject.toml", "share/doc/rounds/deploy/README.md",
                 "share/doc/rounds/deploy/examples/wdbc.json", "share/doc/rounds/deploy/systemd/rounds-site-gpu.conf"):
        assert (installed / "usr" / path).is_file(), path
    for program in ("rounds", "rounds-server", "rounds-site"):
        for folder, name in (("bash-completion/completions", program), ("zsh/site-functions", f"_{program}"),
                             ("fish/vendor_completions.d", f"{program}.fish")):
            assert (installed / "usr/share" / folder / name).stat().st_size > 100
    assert {path.name for path in installed.iterdir()} == {"usr"}, "nothing but what was asked for"
    assert str(installed) not in (installed / "usr/lib/systemd/system/rounds-server.service").read_text()


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", ["rounds-server", "rounds-site"])
def test_units_are_confined(installed, unit):
    path = installed / f"usr/lib/systemd/system/{unit}.service"
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=30", path],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    text = path.read_text()
    assert f"ExecStart=/usr/bin/{unit} " in text and "kill -HUP" in text
    assert f"User={unit if unit == 'rounds-site' else 'rounds'}\n" in text


@needs("systemd-sysusers")
def test_the_units_users_are_made(installed, tmp_path):
    (tmp_path / "etc").mkdir()
    shutil.copytree(installed / "usr/lib/sysusers.d", tmp_path / "usr/lib/sysusers.d")
    done = subprocess.run(["systemd-sysusers", f"--root={tmp_path}", "rounds.conf"], capture_output=True, text=True)
    if os.geteuid() == 0:
        users = (tmp_path / "etc/passwd").read_text()
        assert done.returncode == 0 and "rounds:" in users and "rounds-site:" in users, done.stderr


def test_settings_to_begin_with_are_right(installed, tmp_path):
    for program, name in (("rounds-server", "server"), ("rounds-site", "site")):
        done = subprocess.run([installed / "usr/bin" / program, "--config",
                               installed / f"usr/share/rounds/settings/{name}.json", "--check-config"],
                              capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_the_dashboard_is_found_under_any_prefix(installed, rounds):
    """rounds-server from where it was installed, which is not where it was configured for."""
    rounds.server.stop()
    port_file = rounds.home / "port-2"
    server = Process([installed / "usr/bin/rounds-server", "--data-dir", rounds.data, "--address", "127.0.0.1", "--port",
                      str(rounds.port), "--port-file", port_file], rounds.home / "installed.log")
    rounds.processes.append(server)
    wait_until(port_file.exists, what="the installed server")
    page = rounds.api.raw("GET", "/")
    assert page.status_code == 200 and "<html" in page.text
    assert (installed / "usr/share/rounds/web/index.html").read_text() == page.text


@needs("man")
def test_manual_pages_say_what_help_says(installed):
    for program, section in (("rounds-server", 8), ("rounds-site", 8), ("rounds-trainer", 8), ("rounds", 1)):
        page = installed / f"usr/share/man/man{section}/{program}.{section}"
        shown = subprocess.run(["man", "--warnings=w", "-l", page], capture_output=True, text=True,
                               env={**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-ww"})
        assert shown.returncode == 0 and not shown.stderr, shown.stderr
        said = subprocess.run([BUILD / ("server" if program == "rounds-server" else "client") / program, "--help"],
                              capture_output=True, text=True).stdout
        # What rounds-trainer's help lists are parameters of a job.
        flags = set(re.findall(r"^  (--[a-z-]+) ", said, re.M)) if program != "rounds-trainer" else {"--schema"}
        text = shown.stdout.replace("‐", "-")
        assert flags and all(flag in text for flag in flags), flags


def candidates(*words, program="client/rounds", env=None):
    said = subprocess.run([BUILD / program, "--complete", *words], capture_output=True, text=True, check=True,
                          env={**os.environ, **(env or {})}).stdout
    return [line.split("\t")[0] for line in said.splitlines()]


def test_completion_is_complete(clinic):
    said = clinic.rounds("--help").stdout
    commands = {tuple(words.split()) for words in re.findall(r"^  rounds ([a-z]+(?: [a-z]+)?)(?= )", said, re.M)}
    assert len(commands) > 35
    for words in commands:
        assert words[0] in candidates("")
        assert len(words) == 1 or words[1] in candidates(words[0], "")
        flags = set(re.findall(r"^  (--[a-z-]+) ", clinic.rounds(*words, "--help").stdout, re.M))
        assert flags <= set(candidates(*words, "-")), words
    assert candidates("token", "create", "ci", "--role", "") == ["admin", "viewer"]
    assert candidates("--context", "job", "job", "submit", "") == [":files"], "a flag's value is no word"
    env = clinic.environment
    assert set(candidates("site", "show", "", env=env)) == {"hospital-a", "hospital-b", "hospital-c", "hospital-d"}
    job = clinic.submit()
    assert candidates("job", "watch", "", env=env)[:2] == ["last", job]
    assert candidates("job", "watch", "", env={"ROUNDS_HOME": "/nowhere"}) == ["last"]
    for program in ("server/rounds-server", "client/rounds-site"):
        flags = re.findall(r"^  (--[a-z-]+) ", subprocess.run([BUILD / program, "--help"], capture_output=True, text=True).stdout,
                           re.M)
        assert set(flags) <= set(candidates("--", program=program)) and "--config" in candidates("--", program=program)
    assert "reset-admin" in candidates("re", program="server/rounds-server")


PROBES = {
    "bash": 'source {script}; COMP_WORDS=(rounds job su); COMP_CWORD=2; _rounds; echo "${{COMPREPLY[@]}}"',
    "fish": "source {script}; complete -C 'rounds job su' | string split -f1 \\t",
    "zsh": "autoload -U compinit; compinit -u -D; source {script}; "
           "_describe() {{ print -l ${{(M)candidates:#su*}} }}; words=(rounds job su); CURRENT=3; _rounds | cut -d: -f1",
}


@pytest.mark.parametrize("shell", [pytest.param(shell, marks=needs(shell)) for shell in PROBES])
def test_each_shell_completes(installed, shell, tmp_path):
    script = {"bash": "bash-completion/completions/rounds", "fish": "fish/vendor_completions.d/rounds.fish",
              "zsh": "zsh/site-functions/_rounds"}[shell]
    path = f"{installed / 'usr/bin'}:{os.environ['PATH']}"
    said = subprocess.run([shell, "-c", PROBES[shell].format(script=installed / "usr/share" / script)], capture_output=True,
                          text=True, env={**os.environ, "PATH": path, "HOME": str(tmp_path)}, timeout=60)
    assert said.stdout == "submit\n", said

"""Programs that are allowed must not run another one, nor write where nobody looks: each by its own options."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.shell_programs import runs_something_else

RUNS_ANOTHER = r"""
find . -exec id ; / find . -execdir id ; / find . -ok id ; / find . -okdir id ; / find . -delete / find . -fls x
find . -fprint x / find . -fprint0 x / find . -fprintf x %p / find -files0-from x
fd -x id / fd -X id / fd --exec id / fd --exec-b id / fdfind -x id / fdfind -X id / fdfind --exec=id
rg --pre id x / rg --pre=id x / rg --hostname-bin id x / rg -z x / rg --search-zip x
tar --to-command=id / tar --checkpoint-action=exec=id / tar --use-compress-program=id / tar -I id
tar --rsh-command id
tar --info-script id / tar --new-volume-script=id / tar -F id / tar --rmt-command=id / tar --absolute-names
tar -P -xf x
sort --compress-program id / sort -o x y / sort --output=x y / sort -T x y / sort --temporary-directory=x
sort --files0-from=x
split --filter=id x / zip x y -T / zip x y -TT id / zip --test x / zip --unzip-command=id x / unzip -: x
rsync -e id / rsync --rsh id / rsync --rsync-path=id / rsync --daemon / rsync --config=x
scp -o x / scp -S id / scp -F x / scp -J h / scp -D id
curl -K x / curl --config x / curl -o x / curl -O u / curl --output x / curl --remote-name u / curl -T x
curl --upload-file x
curl --engine x / curl --proto x
wget --use-askpass=id / wget -e x / wget --execute x / wget --config=x / wget -O x / wget --output-document=x
wget -i x
wget --input-file=x / wget --post-file=x / wget --body-file=x
ip -b x / ip -batch x / ip --batch x / ip -force x / ip netns list / ip vrf list / ip link exec x
tcpdump -z id / tcpdump -w x / tcpdump -F x / tcpdump -Z root
nmap --script x / nmap --interactive / nmap --datadir x / nmap --servicedb x / nmap -iL x / nmap -sC h / nmap -A h
nc -e id / nc -c id / ncat -e id / ncat -c id / ncat --exec id / ncat --sh-exec id / ncat --lua-exec x
nc --exec id
netcat -e id / netcat -c id
make -f x / make --file=x / make --makefile=x / make --eval=x / make -E x / make -C x / make --directory=x
make -I x
make --include-dir=x / gmake -f x / gmake --makefile=x / gmake -E x / gmake -C x / gmake -I x
gmake --include-dir=x
mysql -e x / mysql --execute=x / mysql --pager=id / mysql --tee=x / mysql --init-command=x / mysql --plugin-dir=x
mysql --defaults-file=x / mysql --default-auth=x
psql -c x / psql --command=x / psql -f x / psql --file=x / psql -o x / psql --output=x / psql -L x
psql --log-file=x
sqlite3 -cmd x / sqlite3 -init x / sqlite3 -A x
ssh-keygen -D x / ssh-keygen -w x / cowsay -f x / cowthink -f x / csvtool call id x
gem open x / gem -e x / gem install x / gem update / gem -C x
latexmk -r x / latexmk -e x / puppet apply x / puppet -e x
rake -e x / rake -E x / rake -p x / rake -r x / rake -f x / rake -R x / rake -I x / rake --execute-continue x
rake --rakefile x / rake --require x / rake --libdir x
gtester -q x / gtester -o x / virsh create x / virsh define x / virsh edit x / virsh qemu-monitor-command x
virsh console x
date -s x / date --set=x / date -f x / date --file=x / file -m x / file --magic-file=x / file -f x
file --files-from=x
file -C / file --compile
journalctl --rotate / journalctl --vacuum-size=1 / journalctl --vacuum-time=1 / journalctl --file=x
journalctl -D x
journalctl --directory=x
systemctl edit x / systemctl link x / systemctl enable x / systemctl start x / systemctl restart x
systemctl set-environment a=b / systemctl -H h / systemctl --host=h
apt -o x / apt --option=x / apt -c x / apt --config-file=x / apt-get -o x / apt-get --option=x / apt-get -c x
apt-get --config-file=x
dpkg -i x / dpkg --install x / dpkg --pre-invoke=id / dpkg --post-invoke=id / dpkg --unpack x / dpkg --configure x
rpm -i x / rpm -U x / rpm -F x / rpm --eval x / rpm -E x / rpm --define x / rpm -D x / rpm --pipe id
rpm --rcfile x
rpm --load=x
npm x y / npm run y / npm run-script y / npm rum y / npm urn y / npm start / npm test / npm explore y
npm install y
npm i y / npm ci / npm edit y / npm config ls / npm set a b / npm --script-shell=x / npm --node-options=x
yarn exec y / yarn run y / yarn dlx y / yarn node y / yarn install / yarn add y / yarn config get y
pnpm exec y / pnpm run y / pnpm dlx y / pnpm install / pnpm add y / pnpm config get y / pnpm start / pnpm test
pip install -i u y / pip --index-url u / pip --extra-index-url u / pip -e x / pip --editable x / pip --pre y
pip --target x / pip -c x / pip -r x / pip config list
go run x / go generate / go tool x / go build -exec id / go build -toolexec id / go build -overlay x / go env -w a=b
go build -modfile x / go build -ldflags x / go build -gcflags x
cargo run / cargo r / cargo install x / cargo build --config x / mix run x / mix -e x / mix -r x / mix --require x
jq -f x / jq --from-file x / jq -L x / jq --rawfile a x / jq --slurpfile a x
openssl -engine x / openssl -provider x / openssl engine x / openssl -provider-path x / openssl s_client x
openssl s_server x / openssl -config x / openssl -out x / openssl req
man -P id x / man -Hid x / man -l x / man -C x x / man -L x x / man --html=id x / man --config-file=x x
man --local-file x
kubectl exec p / kubectl run p / kubectl debug p / kubectl attach p / kubectl cp a b / kubectl edit p
kubectl plugin list
kubectl proxy / kubectl port-forward p 1 / kubectl --kubeconfig=x get p
gcc -wrapper id / gcc -B x / gcc -specs=x / gcc -fplugin=x / cc -wrapper id / cc -B x / cc -specs=x / cc -fplugin=x
g++ -wrapper id / g++ -B x / g++ -specs=x / g++ -fplugin=x / clang -B x / clang -fplugin=x / clang -load x
clang -Xclang x
uv run x / uv exec x / uv x y / uv shell / uv develop / uv install x / uv console / uv open x / uv add x
uv config x / uv tool x
asdf exec x / bundle open x / bundler exec x / conda run x / hatch shell / mamba run x / micromamba run x
mise exec x
nix develop / pdm run x / pipenv shell / poetry add x / rbenv exec x / rye run x / volta run x
docker run x / docker exec x / docker create x / docker build . / docker buildx x / docker compose up
docker cp a b
docker import x / docker load x / docker start x / docker plugin ls / docker attach x / docker -H h ps
docker --host=h ps
podman run x / podman exec x / nerdctl run x
git -c a=b log / git --exec-path=x log / git log --config=x / git clone --config-env=a=B x
git clone --template=x y
git clone -c a=b x / git clone -u id x / git fetch -u id / git pull -u id / git pull -s x / git pull -X x
git pull -Sx
git rebase -i x / git rebase -x id / git rebase -s x / git rebase -X x / git rebase -Sx / git grep -Oid x
git add -i
git add -e / git add -p / git commit -c x / git commit -e / git commit -p / git commit -Sx / git merge -s x
git merge -X x
git merge -Sx / git merge -e / git tag -s x / git tag -u k x / git tag -e x / git am -i / git am -Sx
git cherry-pick -e x
git cherry-pick -Sx / git cherry-pick -s x / git cherry-pick -X x / git revert -e x / git revert -Sx
git revert -s x
git format-patch -o x / git format-patch --output-directory=x / git diff --output=x / git diff --ext-diff
git log --textconv / git cat-file --textconv x / git cat-file --filters x / git grep --open-files-in-pager=id
git rebase --exec=id / git fetch --upload-pack=id / git push --receive-pack=id / git push --exec=id
git init --separate-git-dir=x / git log --git-dir=x / git log --work-tree=x / git commit --edit
git add --interactive
git commit --gpg-sign=x / git merge --strategy=x / git fetch --server-option=x / git fetch ext::id / git -C / git
git gui
awk / awk -f x / awk -v / awk -F / awk -v a=`b`|c 1 / awk -va=<x 1 / awk -F@ 1 / awk 1 a=b / awk --lint 1
awk 1;close(x) / awk 1;fflush() / awk {printf"x">"y"} / awk ENVIRON / awk PROCINFO / awk ARGV / awk \x / gawk -f x
mawk -f x / nawk -f x / original-awk -f x / awk a|b / awk @load
sed / sed -n / sed -e / sed -i p x / sed e / sed pw / sed s/a/b/e / sed p;e x / sed -e p -e e x / gsed e x
sed s,a,b,w x
ls --pager=id / x --with-editor id / x --askpass / x --run-program=id / x -hook / x --rcfile x / x --on-exit id
x oProxyCommand=id / x localcommand=id / x exec:id / x system:id / x shell:id / x sh:id / x open2:id / x open:id
x ext::id
x a::sh / x BASH_ENV=x / x env=x / x ld_preload=x / x ld_library_path=x / x IFS=x / x PATH=x / x PYTHONPATH=x
x perl5opt=x
x GIT_DIR=x / x PAGER=id / x editor=id / x prompt_command=id / x SHELL=id / x makeflags=x / x node_options=x
x PATH+=x
x exec / x execute / x eval / x shell / x console / x repl / x runner / x -v exec / x --with bash / x -a /bin/zsh
x a=/bin/sh / x "bash" / x (sh) / x a;sh / x a|dash / x a&ksh / x 'zsh' / x sh\t-c / x fish\t-lc / x a=sh
x shell_exec(a) / x passthru(a) / x system(a) / x popen2(a) / x spawnlp(a) / x execvp(a) / x execfile(a)
x execute(a)
x eval(a) / x loadlibrary(a) / x load_extension(a) / x getruntime(a) / x processbuilder(a) / x exec/a / x exec'a'
sqlite3 db .system\tid / sqlite3 db edit(a) / sqlite3 db writefile(a) / sqlite3 db fts3_tokenizer(a)
sqlite3 db attach
sqlite3 db vacuum\ninto\nx / sqlite3 -readonly db .once
test a[$(id)] / [ a[`id`] ] / printf -v a[$(id)] / read a[$(id)] / wait $(id) / getopts a[$(id)] x / cd $(id)
exit $(id)
return $(id) / shift $(id)
env id / nohup / ./xvfb-run / . x / /usr/bin/sudo id / xargs / watch id
python3 / python3 -c x / python3 +x / python3 /dev/stdin / python3 /proc/self/fd/0 / python3 a:b
python3 --version x / sh
pypy -c x / node -e x / deno x: / perl5.36 -e x / ruby3 -e x / php -r x / luajit -e x / bpftrace -e x / pwsh -c x
R -e x
"""
HONEST = """
find . -name x -print / fd x / rg -n x / rg --pretty x / tar --totals -xf x / sort --key=2 x / sort -tx y
split -l 5 x
zip x y / unzip -l x / unzip x:y / rsync -a x y / scp a h:b / curl -s u / wget -q u / ip addr / tcpdump -r x
nmap -p 80 h
nc -z h 80 / make all / mysql --user=x / psql -l / sqlite3 db .tables / gem list / rake -T / virsh list / date -u
file x / journalctl -u x / systemctl status x / apt list / dpkg -l / rpm -q x / npm ls / yarn list / pip list
go vet
cargo check / jq . x / openssl version / man ls / kubectl get p / gcc -O2 x.c / docker ps / uv --version / mix test
git log --oneline / git --no-pager log / git -C x status / git -P diff / git --version
git --no-optional-locks status
git --bare log / git --literal-pathspecs log / git tag -l x / git add -A / git commit -m x / git push -u origin x
awk {print} x / awk -F | {print} / awk -F, {print} x y / awk -v a=b 1 / awk -va=b 1 / gawk 1 / awk 1 x
sed p x / sed -n 1,+2p x / sed -E s/a/b/g x / sed -e p -e $d x / sed 2q x / sed /a/,/b/d x / sed 1!d x
sed --quiet p
sed --silent = x / sed -r s|a|b| x / gsed s#a#b#2 x / sed s:a:b:I;p x / sed 5!s,a,b,p x / sed -n $= x
test -f x / printf %s x / cd x / grep system(a) x / grep -e sh x / echo exec / cat a=sh / python3 x.py
python3 --version
python3 -V / bash --help / env / node x.js -e / x executive / x -v a / x eval-x / x shells / x ./bash.txt / x a.sh
sqlite3 attach / sqlite3 db .schema / sqlite3 db .dump / sqlite3 db vacuum / sqlite3 -readonly db select / x -a b
./ls -la
x system / x a=sh.txt / x --executor a / x a:b / x mypath=a / x environment=a / curl -L -f u / ls -- -
"""


def commands(text: str) -> list[list[str]]:
    """One command between slashes that stand alone; `\\t` and `\\n` are blanks within a word."""
    return [
        [word.replace("\\t", " ").replace("\\n", "\n") for word in command.split(" ")]
        for line in text.strip().splitlines()
        for command in line.split(" / ")
    ]


@pytest.mark.parametrize("argv", commands(RUNS_ANOTHER), ids=shlex.join)
def test_a_command_that_makes_its_program_run_another_or_write_is_seen(argv):
    assert runs_something_else(argv)


@pytest.mark.parametrize("argv", commands(HONEST), ids=shlex.join)
def test_an_honest_command_of_the_same_programs_is_not_taken_for_one(argv):
    assert not runs_something_else(argv)


@given(st.sampled_from(["/bin/", "/usr/bin/", "./", "../x/"]), st.sampled_from(commands(RUNS_ANOTHER)))
def test_a_program_is_known_by_its_name_in_whatever_folder_it_lies(folder, argv):
    assert runs_something_else([folder + argv[0].rsplit("/", 1)[-1], *argv[1:]])


@pytest.mark.parametrize(
    ("program", "option"),
    [
        ("tar", "--to-command"),
        ("sort", "--output"),
        ("wget", "--body-file"),
        ("rpm", "--define"),
        ("git log", "--output"),
    ],
)
def test_a_long_option_is_seen_in_every_abbreviation_with_or_without_its_value(program, option):
    for end in range(len("--x"), len(option) + 1):
        for argument in (option[:end], f"{option[:end]}=x"):
            assert runs_something_else([*program.split(), argument]), argument
    assert not runs_something_else([*program.split(), "--"])


@given(st.text("abcdghijklmnpqrstuvwxyz", max_size=4), st.text("abcdghijklmnpqrstuvwxyz", max_size=4))
def test_a_letter_is_seen_among_bundled_letters(before, after):
    assert runs_something_else(["sort", f"-{before}o{after}"])
    assert not runs_something_else(["sort", f"{before}o{after}"])

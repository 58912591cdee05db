"""Tables as hospitals have them: read right, or refused with file, row, column and the remedy; never a cell in what is said."""
import gzip
import json
import subprocess

import numpy as np
import pytest
import safetensors.numpy

from harness.deployment import BUILD, DATA

# Every table that can be read says the same: three patients, 50, 60 and 70 years old, with these pressures and outcomes.
AGES, PRESSURES = [50, 60, 70], [110.5, 120.5, 130.5]
PLAIN = "age,bp,out\n50,110.5,0\n60,120.5,1\n70,130.5,0\n"


def load(trainer, tmp_path, content, name="t.csv", **more):
    """The trainer's answer to a table with these bytes, and the model's means and deviations of its features."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    data = {"name": "t", "path": str(path), "label": "out", **more}
    answer = trainer.ask("initialize", data, {"model": "logistic", "validation": 0}, output=tmp_path / "m")
    return answer, safetensors.numpy.load_file(tmp_path / "m") if answer["type"] == "result" else None


def semicolons(text):
    return text.replace(",", ";").replace(".", ",")


GERMAN = {"decimal": ","}
READ = {
    "plain": (PLAIN, {}),
    "no newline at the end": (PLAIN[:-1], {}),
    "CR LF": (PLAIN.replace("\n", "\r\n"), {}),
    "CR": (PLAIN.replace("\n", "\r"), {}),
    "LF CR mixed": (PLAIN.replace("\n", "\r\n", 2), {}),
    "BOM": (b"\xef\xbb\xbf" + PLAIN.encode(), {}),
    "BOM before a quoted header": (b"\xef\xbb\xbf" + PLAIN.replace("age", '"age"', 1).encode(), {}),
    "BOM and another encoding said": (b"\xef\xbb\xbf" + PLAIN.encode(), {"encoding": "windows-1252"}),
    "quotes everywhere": ("\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in PLAIN.split()) + "\n", {}),
    "semicolon": (PLAIN.replace(",", ";"), {}),
    "semicolon and decimal comma": (semicolons(PLAIN), GERMAN),
    "tab": (PLAIN.replace(",", "\t"), {}),
    "tab and decimal comma": (semicolons(PLAIN).replace(";", "\t"), GERMAN),
    "pipe": (PLAIN.replace(",", "|"), {}),
    "a delimiter of one's own": (PLAIN.replace(",", "^"), {"delimiter": "^"}),
    "sep=;": ("sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"), {}),
    "sep=, after a BOM": (b"\xef\xbb\xbfsep=,\n" + PLAIN.encode(), {}),
    '"sep=;"': ('"sep=;"\n' + PLAIN.replace(",", ";"), {}),
    "a header with a comma, parted by semicolons": ("age;bp;out;ward (A, B)\n50;110.5;0;1\n60;120.5;1;1\n70;130.5;0;1\n",
                                                    {"ignore": ["ward (A, B)"]}),
    "UTF-16 as Excel writes it": (PLAIN.replace(",", "\t").encode("utf-16"), {}),
    "UTF-16BE with a mark": (b"\xfe\xff" + PLAIN.encode("utf-16-be"), {}),
    "UTF-16LE without a mark": (PLAIN.encode("utf-16-le"), {}),
    "UTF-16BE without a mark": (PLAIN.encode("utf-16-be"), {}),
    "UTF-32 with a mark": (PLAIN.encode("utf-32"), {}),
    "gzip": (gzip.compress(PLAIN.encode()), {}),
    "gzip, UTF-16": (gzip.compress(PLAIN.encode("utf-16")), {}),
    "gzip in two members": (gzip.compress(PLAIN[:20].encode()) + gzip.compress(PLAIN[20:].encode()), {}),
    "blank lines": ("\n\n" + PLAIN.replace("\n", "\n\n  \n") + "\n\n", {}),
    "rows of separators alone": (PLAIN + ",,\n,,\n", {}),
    "trailing commas": (PLAIN.replace("\n", ",\n"), {}),
    "two trailing semicolons": (PLAIN.replace(",", ";").replace("\n", ";;\n"), {}),
    "trailing commas below the header only": (PLAIN.replace("\n", ",\n").replace(",\n", "\n", 1), {}),
    "pandas' index": (",age,bp,out\n0,50,110.5,0\n1,60,120.5,1\n2,70,130.5,0\n", {}),
    "pandas' index, written twice": ("Unnamed: 0,age,bp,out\n7,50,110.5,0\n1,60,120.5,1\n22,70,130.5,0\n", {}),
    "spaces around names and numbers": ("age , bp,  out\n50, 110.5 ,0\n 60,120.5,1\n70 ,130.5,0\n", {}),
    "numbers in quotes": (PLAIN.replace("110.5", '" 110.5 "'), {}),
    "exponents and signs": ("age,bp,out\n+50,1.105E2,0\n6e1,1205e-1,1\n70.,130.50,0\n", {}),
    "columns that are ignored may be called the same": ("id,age,id,bp,out\na,50,b,110.5,0\na,60,b,120.5,1\na,70,b,130.5,0\n",
                                                        {"ignore": ["id"]}),
    "ignored text of any kind": ('note,age,bp,out\n"5"" catheter, ""new""\n",50,110.5,0\nä,60,120.5,1\n,70,130.5,0\n', {"ignore": ["note"]}),
}


@pytest.mark.parametrize("case", READ)
def test_a_table_is_read_as_it_is_meant(trainer, tmp_path, case):
    content, more = READ[case]
    answer, model = load(trainer, tmp_path, content, **more)
    assert answer["type"] == "result" and answer["weight"] == 3, answer
    assert np.allclose(model["input.mean"], [np.mean(AGES), np.mean(PRESSURES)])
    assert np.allclose(model["input.scale"], [np.std(AGES), np.std(PRESSURES)])


@pytest.mark.parametrize("encoding, said", [("utf-8", {}), ("utf-8-sig", {}), ("utf-16", {}), ("cp1252", {"encoding": "windows-1252"}),
                                            ("latin-1", {"encoding": "latin-1"}), ("cp1252", {"encoding": "cp1252"}),
                                            ("iso-8859-15", {"encoding": "ISO-8859-15"}), ("shift-jis", {"encoding": "SHIFT-JIS"}),
                                            ("mac-roman", {"encoding": "MACINTOSH"})])
def test_names_and_categories_are_the_same_in_every_encoding(trainer, tmp_path, encoding, said):
    """The table is longer than a block, so that characters lie across its edges."""
    word, name = ("männlich", "größe") if encoding != "shift-jis" else ("男性", "身長")
    text = f"geschlecht,{name},out\n" + f"{word},1,0\nw,2,1\n" * 9000
    answer, model = load(trainer, tmp_path, text.encode(encoding), categories={"geschlecht": [word, "w"]}, ignore=[name], **said)
    assert answer.get("weight") == 18000, answer
    assert np.allclose(model["input.mean"], [0.5, 0.5])


@pytest.mark.parametrize("decimal, cells, number", [
    (None, ["1,234.5", "1'234.5", "1 234.5", "1\u00a0234.5", "1\u202f234.5", "1234.5", "+1234.5"], 1234.5),
    (None, ["1,234,567", "1'234'567", "1234567", "1.234567e6"], 1234567),
    (".", ["1,234", "1234"], 1234),
    (",", ["1.234,5", "1234,5", "1 234,5", "1'234,5"], 1234.5),
    (",", ["1.234", "1234", "1234,0"], 1234),
    (",", ["-0,5", "-,5", "-5e-1"], -0.5),
])
def test_thousands_and_fractions(trainer, tmp_path, decimal, cells, number):
    text = "x;out\n" + "".join(f"{cell};0\n" for cell in cells)
    answer, model = load(trainer, tmp_path, text, **({"decimal": decimal} if decimal else {}))
    assert answer["type"] == "result", answer
    assert np.allclose(model["input.mean"], [number]) and np.allclose(model["input.scale"], [1])


@pytest.mark.parametrize("decimal, cell", [
    (None, "1,234"), (None, "12,75"), (None, "0,5"), (None, "1.234,5"), (None, "1.234.567"), (None, "1234,567.8"), (None, "1,23,456"),
    (None, "12 34"), (None, "1,234 567"), (",", "36.6"), (",", "1234.567"), (",", "1,5,5"), (",", "1,234.5"), (".", "1,23"), (None, "0x10"),
    (None, "1e999"), (None, "inf"), (None, "12%"), (None, "--1"), (None, "."  "5."), (None, "e5"), (None, "2020-01-05"), (None, "12:30"),
    (None, "5 mg"), (None, "<5"), (None, "-"), (None, "9" * 200),
])
def test_what_could_be_two_numbers_or_none_is_refused(trainer, tmp_path, decimal, cell):
    answer, _ = load(trainer, tmp_path, f"x;out\n1;0\n{cell};1\n", **({"decimal": decimal} if decimal else {}))
    assert answer["type"] == "error" and (answer["kind"], answer["row"], answer["column"]) == ("cell", 3, 1), answer
    assert "is not a number" in answer["message"] and ("`decimal`" in answer["message"]) == any(c in cell for c in ",."), answer


@pytest.mark.parametrize("word", ["", "?", ".", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "None", "null", "NULL"])
def test_what_says_that_there_is_nothing(trainer, tmp_path, word):
    answer, model = load(trainer, tmp_path, f"x,c,out\n1,a,0\n{word},{word},1\n3,b,{word}\n5,b,1\n", categories={"c": ["a", "b"]})
    assert answer["weight"] == 3, answer
    assert np.allclose(model["input.mean"], [3, 0.5, 0.5])


def test_a_word_that_is_listed_is_a_value(trainer, tmp_path):
    """Namibia's code is NA."""
    answer, model = load(trainer, tmp_path, "land,out\nNA,none\nDE,some\n,some\nDE,?\n", categories={"land": ["DE", "NA"]}, classes=["none", "some"])
    assert answer["weight"] == 3 and np.allclose(model["input.mean"], [0.5, 0.5]), answer


def test_csv_with_missing_values_categories_and_quotes(trainer, tmp_path):
    answer, model = load(trainer, tmp_path, 'id,"age, years",sex,score,out\n1,50,f,1.5,yes\n2,,m,NA,no\n3,70,?,2.5,yes\n4,60,f,3.5,\n',
                         classes=["no", "yes"], ignore=["id"], categories={"sex": ["f", "m"]})
    assert answer["weight"] == 3, "the row without a label is left out"
    assert np.allclose(model["input.mean"], [60, 0.5, 0.5, 2.0])
    assert np.allclose(model["input.scale"], [10, 0.5, 0.5, 0.5])


# What is wrong, where, and what to do. The cells are called Secret..., and no message may hold one.
REFUSED = {
    "text in a column of numbers": ("a,out\n1,1\nSecret,0\n", {}, ("cell", 3, 1), "`categories`, or `ignore`"),
    "blank lines count as a spreadsheet counts": ("a,out\n\n1,1\n\n\nSecret,0\n", {}, ("cell", 6, 1), "is not a number"),
    "a value that is no category": ("a,c,out\n1,f,1\n1,Secret,0\n", {"categories": {"c": ["f"]}}, ("category", 3, 2), "list it there"),
    "a class that is not named": ("a,out\n1,no\n1,Secret\n", {"classes": ["no", "yes"]}, ("label", 3, 2), "`classes`"),
    "a label of text": ("a,out\n1,Secret\n", {}, ("label", 2, 2), "`classes`"),
    "a short record": ("a,b,out\nSecret,0\n", {}, ("cell", 2, 2), "fewer fields than the header"),
    "a long record": ("a,out\n1,0,Secret\n", {}, ("cell", 2, 3), "more fields than the header"),
    "a decimal comma among commas": ("a,out\n36,6,1\n", {}, ("cell", 2, 3), "quotation marks"),
    "no label": ("a,b\nSecret,2\n", {}, ("label", 1, 0), 'no label column "out"'),
    "a label written otherwise": ("a,Out\nSecret,2\n", {}, ("label", 1, 0), "differs in capital letters"),
    "no label said": ("a,b\nSecret,2\n", {"label": None}, ("label", 1, 0), "say its `label`"),
    "no header": ("63,Secret\n55,0\n", {}, ("label", 1, 0), "put a header above"),
    "a header alone": ("a,out\n", {}, ("dataset", 0, 0), "has no rows"),
    "nothing": ("", {}, ("header", 0, 0), "has no rows"),
    "no features": ("out\n1\n", {}, ("dataset", 0, 0), "no features"),
    "two columns of one name": ("a,b,a,out\n1,2,3,4\n", {}, ("header", 1, 3), "the other is column 1"),
    "two labels": ("a,out,out\n1,2,3\n", {}, ("header", 1, 3), "the other is column 2"),
    "a column without a name": ("a,,out\n1,Secret,0\n", {}, ("header", 1, 2), "no name"),
    "a first column without a name that is no index": (",a,out\nSecret,2,0\n", {}, ("header", 2, 1), "give the column a name"),
    "a last column without a name that is not empty": ("a,out,\n1,0,\n1,0,Secret\n", {}, ("header", 3, 3), "give the column a name"),
    "an open quotation mark": ('a,out\n"Secret,2\n3,4\n', {}, ("cell", 2, 1), "not closed"),
    "a quotation mark in a field": ('a,b,out\n1,5" Secret,0\n', {}, ("cell", 2, 2), "double each inside it"),
    "text behind a quotation mark": ('a,b,out\n1,"5" Secret,0\n', {}, ("cell", 2, 2), "double each inside it"),
    "NUL": ("a,out\n1\0,1\n", {}, ("encoding", 2, 1), "NUL byte"),
    "not UTF-8": ("a,out\n1,1\n2,m\xe4nnlich\n".encode("latin-1"), {}, ("encoding", 3, 2), "`encoding`"),
    "a character that ends too early": (b"a,out\n1,1\n2,\xc3", {}, ("encoding", 3, 2), "`encoding`"),
    "a name that is not UTF-8": ("gr\xf6\xdfe,out\n1,1\n".encode("latin-1"), {}, ("encoding", 1, 1), "windows-1252"),
    "not what was said": ("a,out\n1,1\n\x81,0\n".encode("latin-1"), {"encoding": "windows-1252"}, ("encoding", 3, 1), "no text in windows-1252"),
    "an encoding that nobody knows": ("a,out\n1,1\n", {"encoding": "klingon"}, ("encoding", 0, 0), "iconv -l"),
    "two possible separators": ("a;b,out\n1;2,0\n", {}, ("header", 1, 0), "`delimiter`"),
    "ignore that names no column": ("patient,age,out\n1,2,0\n", {"ignore": ["Patient"]}, ("column", 1, 0), "differs in capital letters"),
    "categories that name no column": ("sex,age,out\nf,2,0\n", {"categories": {"gender": ["f"]}}, ("column", 1, 0), "`categories` names \"gender\""),
    "a spreadsheet": (b"PK\x03\x04rest", {}, ("encoding", 0, 0), "save the sheet as CSV"),
    "Parquet": (b"PAR1rest", {}, ("encoding", 0, 0), "write it as CSV"),
    "gzip that was cut": (gzip.compress(PLAIN.encode())[:-8], {}, ("encoding", 5, 1), "ends too early"),
    "gzip that is damaged": (gzip.compress(PLAIN.encode())[:-8] + b"\xff" * 8, {}, ("encoding", 0, 0), "is damaged"),
    "labels that are no classes": ("a,out\n1,0.5\n", {}, ("label", 2, 0), "whole number from 0 to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_table_says_where_and_what_to_do(trainer, tmp_path, case):
    content, more, place, words = REFUSED[case]
    answer, _ = load(trainer, tmp_path, content, **more)
    assert answer["type"] == "error" and not answer["retry"], answer
    assert (answer["kind"], answer.get("row", 0), answer.get("column", 0)) == place and answer["role"] == "path", answer
    assert words in answer["message"], answer
    assert "Secret" not in json.dumps(answer) and str(tmp_path) not in json.dumps(answer)
    # A daemon of version 1 would tell the message to the server.
    data = {"name": "t", "path": str(tmp_path / "t.csv"), "label": "out", **more}
    old = trainer.ask("initialize", data, {"model": "logistic"}, protocol=1, output=tmp_path / "m")
    assert set(old) == {"type", "message", "retry"} and old["message"] == answer["message"].split(": ")[0], old


def test_a_table_that_is_not_there(trainer, tmp_path):
    answer = trainer.ask("initialize", {"name": "t", "path": str(tmp_path / "none.csv"), "label": "out"}, {})
    assert answer["type"] == "error" and "cannot be opened" in answer["message"] and str(tmp_path) not in answer["message"], answer
    answer = trainer.ask("initialize", {"name": "t", "path": str(tmp_path), "label": "out"}, {})
    assert answer["type"] == "error" and "directory" in answer["message"] and str(tmp_path) not in answer["message"], answer


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{}", b"x" * 100,
                                  b"\x93NUMPY\x01\x00\x46\x00{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1), }" + b" " * 12 + b"0000"])
def test_a_wrong_npy_is_refused(trainer, tmp_path, data):
    (tmp_path / "x.npy").write_bytes(data)
    np.save(tmp_path / "y.npy", np.zeros(1))
    for path, labels, role in (("x", "y", "path"), ("y", "x", "labels")):
        answer = trainer.ask("initialize", {"name": "t", "path": str(tmp_path / f"{path}.npy"), "labels": str(tmp_path / f"{labels}.npy")}, {})
        assert (answer["type"], answer["role"]) == ("error", role) and "not an NPY" in answer["message"], answer


def site(tmp_path, datasets, *words):
    (tmp_path / "site.json").write_text(json.dumps({"datasets": datasets}))
    return subprocess.run([BUILD / "client/rounds-site", *words, "--config", tmp_path / "site.json"], capture_output=True, text=True)


WARD = ";patient;age;sex;ward;out\n0;p1;50,5;f;a;yes\n1;p2;;m;a;no\n2;p3;70,5;;a;no\n3;p4;1;f;a;\n"


@pytest.mark.parametrize("words", [["--check-config"], ["datasets"]])
def test_an_administrator_sees_what_is_in_each_table_and_what_leaves(tmp_path, words):
    (tmp_path / "t.csv").write_bytes(gzip.compress((WARD + WARD.split("\n", 1)[1] * 36).encode("utf-16")))
    np.save(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
    np.save(tmp_path / "y.npy", np.arange(6.0))
    table = {"path": str(tmp_path / "t.csv"), "label": "out", "classes": ["no", "yes"], "ignore": ["patient"], "decimal": ",",
             "categories": {"sex": ["f", "m"], "ward": ["a"]}}
    done = site(tmp_path, {"ward": {**table, "describe": "counts"}, "secret": table, "scans": {"path": str(tmp_path / "x.npy"), "labels": str(tmp_path / "y.npy")},
                           "folder": {"path": str(tmp_path)}}, *words)
    assert done.returncode == 0, done
    text = " ".join(done.stdout.split())
    for words in ("ward: 111 rows; UTF-16LE, packed, columns parted by ;; 37 more without a label are left out",
                  "patient ignored", "age number 37 missing 50.5 to 70.5, mean 60.5", "sex category 37 missing f 37 m 37",
                  "ward category 0 missing a 111", "out label 37 missing no 74 yes 37",
                  'the names of 3 columns and the label\'s, and 110 rows ("describe": "counts")',
                  'The server is told the dataset\'s name ("describe": "names")',
                  "scans: 6 rows", "matrix 0 missing 0 to 11, mean 5.5", "folder: for programs that read it themselves"):
        assert words in text, (words, done.stdout)


def test_a_table_that_cannot_be_read_is_an_error_of_the_settings(tmp_path):
    (tmp_path / "t.csv").write_text(PLAIN)
    table = {"path": str(tmp_path / "t.csv"), "label": "out"}
    for wrong, words in ((("ignore", ["patient"]), "`ignore` names"), (("label", "Out"), "capital letters"), (("encoding", "klingon"), "iconv -l")):
        done = site(tmp_path, {"good": table, "t": {**table, wrong[0]: wrong[1]}}, "--check-config")
        assert done.returncode == 2 and words in done.stdout and "The settings are right" not in done.stdout, done
    for wrong in ({"decimal": ";"}, {"delimiter": ";;"}, {"describe": "all"}):
        assert "must" in site(tmp_path, {"t": {**table, **wrong}}, "--check-config").stderr
    done = site(tmp_path, {}, "datasets")
    assert done.returncode == 0 and "There are no datasets" in done.stdout


def test_the_trainer_says_what_it_takes():
    schema = json.loads(subprocess.run([BUILD / "client/rounds-trainer", "--schema"], capture_output=True, check=True).stdout)
    assert schema["properties"]["model"]["enum"] == ["linear", "logistic", "softmax", "cox", "mlp"]
    assert schema["properties"]["epochs"]["default"] == 1 and schema["additionalProperties"] is False


def test_no_cell_and_no_path_of_a_site_reaches_the_server(rounds, tmp_path):
    """A column that the administrator forgot to ignore: whoever may look at the job reads where, not what."""
    (tmp_path / "t.csv").write_text('patient,age,out\n"Jane Doe, born 1961-03-04",61,1\n"John Roe",44,0\n')
    rounds.start_site("a", datasets={"t": {"path": str(tmp_path / "t.csv"), "label": "out"}})
    rounds.connected("a")
    job = rounds.api.post("/jobs", {"name": "t", "dataset": "t"})["id"]
    rounds.wait_for(job, "failed")
    said = json.dumps([rounds.job(job), rounds.api.get(f"/jobs/{job}/events"), rounds.api.get(f"/jobs/{job}/tasks")])
    assert "(path, row 2, column 1" in said and "cannot be read as what its column holds" in said
    assert not any(word in said for word in ("Jane", "Doe", "1961", "John", "patient", str(tmp_path), "t.csv"))


def test_a_simulation_reads_the_same_tables(rounds, tmp_path):
    from test_simulate import simulate
    lines = (DATA / "wdbc/test.csv").read_text().replace("benign", "gutartig ä").splitlines()
    (tmp_path / "t.csv").write_bytes("\r\n".join(semicolons(line) for line in lines).encode("cp1252"))
    (tmp_path / "d.json").write_text(json.dumps({"encoding": "windows-1252", "decimal": ",", "classes": ["gutartig ä", "malignant"]}))
    done = simulate(rounds, tmp_path, {"name": "t", "dataset": "t", "params": {"rounds": 1}}, "--data", tmp_path / "t.csv",
                    "--label", "diagnosis", "--dataset", tmp_path / "d.json", "--sites", "2")
    assert "completed" in done.stdout, done

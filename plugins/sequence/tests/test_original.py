"""Settings as run_interleave.py has them."""

import json

import pytest
from stable_core_plugin_sequence.options import SequenceParams
from stable_core_plugin_sequence.original import configured, translated

from core.library.models import Models
from core.plugin import InvalidParams, ModelNotFound

SCRIPT = r"""
import torch
from torch import autocast

prompt_config = {
    'source' : 'tales/sg1.txt', 'key' : 'sg1', 'prompt_override' : None, 'chapter_split_regex' : 'Season\d+',
    'prompt_split_regex' : '\n', 'max_chapters' : 2, 'max_entries_per_chapter' : 4
}
generation_config = {
    'preview' : False, 'preview_stop' : 'rm -rf /', 'preview_max_windows' : 10, 'save_individual' : False,
    'progresive' : False, 'interleave' : True, 'cycle_styles' : True, 'guidance_scale' : 8.5, 'eta' : 0.2,
    'num_inference_steps' : 30
}
style_configs = [{'style': 'in oil', 'file_tag': 'oil', 'weight': 0.9, 'last_image': None, 'images': []}]
raise SystemExit("this is read, not run")
"""
SAID = {
    "book": "tales/sg1.txt", "key": "sg1", "chapter_split_regex": r"Season\d+", "prompt_split_regex": "\n",
    "max_chapters": 2, "max_entries_per_chapter": 4, "preview": False, "save_individual": False, "progressive": False,
    "interleave": True, "cycle_styles": True, "cfg_scale": 8.5, "eta": 0.2, "steps": 30,
    "styles": [{"style": "in oil", "file_tag": "oil", "weight": 0.9}],
}  # fmt: skip


def test_the_script_itself_can_be_read():
    assert translated(SCRIPT, "config") == SAID


def test_settings_may_be_json_by_these_names_or_ours():
    tables = {
        "prompt_config": {"source": "a.txt", "prompt_override": None}, "generation_config": {"progressive": True},
        "style_configs": [{"style": "in oil"}], "steps": 3,
    }  # fmt: skip
    said = {"book": "a.txt", "progressive": True, "styles": [{"style": "in oil"}], "steps": 3}
    assert translated(json.dumps(tables), "config") == said


@pytest.fixture
def models(tmp_path):
    (tmp_path / "sequence").mkdir()
    (tmp_path / "sequence" / "mine.py").write_text(SCRIPT)
    return Models(tmp_path, [{"kind": "sequence", "path": "", "suffixes": [".json", ".py"]}])


def test_what_is_set_by_hand_counts_more_than_config_and_that_more_than_the_file(models):
    given = SequenceParams(settings="mine.py", config='{"steps": 20, "eta": 0.5}', eta=0.3)
    params = configured(given, models)
    assert (params.steps, params.eta, params.cfg_scale, params.styles[0].file_tag) == (20, 0.3, 8.5, "oil")
    assert configured(SequenceParams(), models) == SequenceParams()


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"generation_config": {"stepps": 3}}', "there is no setting 'stepps'. Did you mean 'steps'?"),
        ('{"styles": [{"wieght": 3}], "nothing": 1}', "'nothing'.*'wieght'. Did you mean 'weight'?"),
        ("style_configs = [{1: 2}]\ngeneration_config = {3: 4}", "no setting 3. there is no setting 1"),
        ('{"prompt_config": 3}', "prompt_config has to be a table, got int"),
        ("[1]", "has to be a table of settings, got list"),
        ("{", "config is neither JSON .* nor Python"),
        ("[" * 100_000, "config is neither JSON"),
        ("x = 1", "config is no JSON .*, and sets none of prompt_config, generation_config, style_configs"),
        ("style_configs = make()", "style_configs in line 1 has to be written out, not computed"),
        ('{"steps": 0, "styles": []}', "the settings are not allowed: styles: .*; steps: .*greater than or equal to 1"),
        ('{"styles": 3}', "the settings are not allowed: styles: Input should be a valid list"),
        ('{"styles": [3]}', "the settings are not allowed: styles.0: "),
    ],
)
def test_settings_that_are_wrong_are_told(text, message, models):
    with pytest.raises(InvalidParams, match=message):
        configured(SequenceParams(config=text), models)


def test_a_file_that_is_not_there_is_told(models):
    with pytest.raises(ModelNotFound, match=r"there is no sequence model 'min.py'. Did you mean mine.py\?"):
        configured(SequenceParams(settings="min.py"), models)
